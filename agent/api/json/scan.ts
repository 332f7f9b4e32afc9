/** What of a JSON text can be told without parsing it: where strings and values end. It works on UTF-8, where these bytes are no part of others. */

export const quote = 34;
export const comma = 44;
export const colon = 58;
export const openBracket = 91;
export const backslash = 92;
export const closeBracket = 93;
export const openBrace = 123;
export const closeBrace = 125;

/** The position where the string that starts at `open` ends; -1 if it does not end. */
export function endOfString(text: Buffer, open: number): number {
  let close = nextQuote(text, open + 1);
  while (close !== -1 && isEscaped(text, close)) close = nextQuote(text, close + 1);
  return close;
}

/** Most strings are shorter: a call of `indexOf` would cost more. */
const shortString = 64;

function nextQuote(text: Buffer, from: number): number {
  const end = Math.min(from + shortString, text.length);
  for (let at = from; at < end; at++) if (text[at] === quote) return at;
  return text.indexOf(quote, end);
}

/** True if an odd number of backslashes stands before the quote. */
function isEscaped(text: Buffer, at: number): boolean {
  let slash = at - 1;
  while (text[slash] === backslash) slash--;
  return (at - slash) % 2 === 0;
}

/** The first position from `at` on that is no white space of JSON. */
export function skipSpace(text: Buffer, at: number): number {
  let next = at;
  while (isSpace(text[next])) next++;
  return next;
}

/** The position after the last byte before `end` that is no white space of JSON. */
export function trimSpace(text: Buffer, end: number): number {
  let last = end;
  while (isSpace(text[last - 1])) last--;
  return last;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 32 || byte === 10 || byte === 13 || byte === 9;
}
