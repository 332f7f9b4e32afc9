/** The lines of a file of credentials: what is blank or begins with `#` is left out. Editors may begin it with a byte order mark. */

export interface Line {
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

/** As UTF-8, and as UTF-8 that was read as Latin-1. */
const byteOrderMark = /^(?:\ufeff|\u00ef\u00bb\u00bf)/;

export function significantLines(text: string): readonly Line[] {
  return text
    .replace(byteOrderMark, "")
    .split(/\r\n|\n|\r/)
    .map((line, index) => ({ number: index + 1, text: line.trim() }))
    .filter(({ text: line }) => line !== "" && !line.startsWith("#"));
}
