/**
 * Text that cannot change a terminal. What an answer contains was written by others: a control character in it could move
 * the cursor, and letters of other scripts can be wider than a column or look like ASCII.
 */

const unprintable = /[^\x20-\x7e]/gu;

/** Only ASCII that prints: every other character as an escape of JSON, such as `\u001b`. */
export function printable(text: string): string {
  return text.replace(unprintable, escaped);
}

/** JSON in ASCII, which parses to the same value. `indent` is a number of spaces. */
export function asciiJson(value: unknown, indent = 2): string {
  const text = JSON.stringify(value, undefined, indent) ?? "null";
  return text
    .split("\n")
    .map((line) => printable(line))
    .join("\n");
}

function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`,
  ).join("");
}
