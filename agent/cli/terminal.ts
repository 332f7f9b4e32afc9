/** Where a command writes: standard output and error, their width and colours, and a person who can answer. */
import { styleText } from "node:util";
import type { Layout } from "../../lib/text/layout.ts";
import { printable } from "../../lib/text/printable.ts";
import type { Style } from "../../lib/text/view.ts";
import { InterruptedFailure } from "./failures.ts";

const formats = {
  good: "green",
  bad: "red",
  warn: "yellow",
  dim: "dim",
  strong: "bold",
} as const satisfies Record<Style, Parameters<typeof styleText>[0]>;

/** Narrower ones are laid out as if they had so many columns. */
const leastWidth = 40;

export class Terminal {
  /** Colours on a terminal only, and not with NO_COLOR (https://no-color.org) or on one that knows none. */
  get layout(): Layout {
    return layoutOf(process.stdout);
  }

  /** True if a person can see a question and answer it. */
  get isInteractive(): boolean {
    return process.stdin.isTTY === true && process.stderr.isTTY === true;
  }

  write(text: string): void {
    process.stdout.write(text);
  }

  /** A line beside the output. */
  note(line: string): void {
    this.endProgress();
    process.stderr.write(`${printable(line)}\n`);
  }

  /** Text of {@link render}, beside the output. */
  show(text: string): void {
    this.endProgress();
    process.stderr.write(text);
  }

  get noteLayout(): Layout {
    return layoutOf(process.stderr);
  }

  #progress = 0;

  /** Replaces the line of the last call. Only a terminal shows it. */
  progress(line: string): void {
    if (!process.stderr.isTTY) return;
    const text = printable(line).slice(0, Math.max(leastWidth, process.stderr.columns) - 1);
    process.stderr.write(`\r${text.padEnd(this.#progress)}`);
    this.#progress = text.length;
  }

  endProgress(): void {
    if (this.#progress > 0) process.stderr.write(`\r${" ".repeat(this.#progress)}\r`);
    this.#progress = 0;
  }

  /** Only "y" and "yes" are a yes. @throws InterruptedFailure at Ctrl-C */
  async confirm(question: string): Promise<boolean> {
    const { createInterface } = await import("node:readline");
    const reader = createInterface({ input: process.stdin, output: process.stderr });
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    reader.on("SIGINT", () => {
      process.stderr.write("\n");
      reject(new InterruptedFailure("interrupted: nothing was written"));
    });
    // The end of the input is no answer.
    reader.on("close", () => resolve(""));
    reader.question(`${question} [y/N] `, resolve);
    try {
      return /^y(es)?$/i.test((await promise).trim());
    } finally {
      reader.close();
    }
  }
}

function layoutOf(stream: NodeJS.WriteStream): Layout {
  const { NO_COLOR: noColor = "", TERM: term } = process.env;
  const hasColor = stream.isTTY === true && noColor === "" && term !== "dumb";
  return {
    width: stream.isTTY === true ? Math.max(leastWidth, stream.columns) : Number.POSITIVE_INFINITY,
    paint: hasColor
      ? (text, style) => styleText(formats[style], text, { validateStream: false })
      : (text) => text,
  };
}
