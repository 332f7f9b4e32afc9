/** The lines of a file of credentials: what is blank or begins with `#` is left out. */

export interface Line {
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

export function significantLines(text: string): readonly Line[] {
  return text
    .split(/\r\n|\n|\r/)
    .map((line, index) => ({ number: index + 1, text: line.trim() }))
    .filter(({ text: line }) => line !== "" && !line.startsWith("#"));
}
