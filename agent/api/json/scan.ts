/** What of a JSON text can be told without parsing it: where strings and values end. */

export const quote = 34;
export const comma = 44;
export const colon = 58;
export const openBracket = 91;
export const backslash = 92;
export const closeBracket = 93;
export const openBrace = 123;
export const closeBrace = 125;

/** The position where the string that starts at `open` ends; -1 if it does not end. */
export function endOfString(text: string, open: number): number {
  let close = text.indexOf('"', open + 1);
  while (close !== -1 && isEscaped(text, close)) close = text.indexOf('"', close + 1);
  return close;
}

/** True if an odd number of backslashes stands before the quote. */
function isEscaped(text: string, at: number): boolean {
  let slash = at - 1;
  while (text.charCodeAt(slash) === backslash) slash--;
  return (at - slash) % 2 === 0;
}

/** The first position from `at` on that is no white space of JSON. */
export function skipSpace(text: string, at: number): number {
  let next = at;
  while (isSpace(text.charCodeAt(next))) next++;
  return next;
}

/** The position after the last character before `end` that is no white space of JSON. */
export function trimSpace(text: string, end: number): number {
  let last = end;
  while (isSpace(text.charCodeAt(last - 1))) last--;
  return last;
}

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}
