/** Where a command writes: standard output and error, their width and colours, and a person who can answer. */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { styleText } from "node:util";
import { type Layout, unpainted } from "../../lib/text/layout.ts";
import { printable } from "../../lib/text/printable.ts";
import type { Style } from "../../lib/text/view.ts";
import { InterruptedFailure, UsageFailure } from "./failures.ts";

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
    return layoutOf(standardOutput);
  }

  /** True if a person can see a question and answer it. */
  get isInteractive(): boolean {
    return isatty(0) && isatty(standardError);
  }

  write(output: string | Uint8Array): void {
    put(standardOutput, output);
  }

  /** A line beside the output. */
  note(line: string): void {
    this.endProgress();
    put(standardError, `${printable(line)}\n`);
  }

  /** Text of {@link render}, beside the output. */
  show(text: string): void {
    this.endProgress();
    put(standardError, text);
  }

  get noteLayout(): Layout {
    return layoutOf(standardError);
  }

  #progress = 0;

  /** Replaces the line of the last call. Only a terminal shows it. */
  progress(line: string): void {
    if (!isatty(standardError)) return;
    const text = printable(line).slice(0, Math.max(leastWidth, process.stderr.columns) - 1);
    put(standardError, `\r${text.padEnd(this.#progress)}`);
    this.#progress = text.length;
  }

  endProgress(): void {
    if (this.#progress > 0) put(standardError, `\r${" ".repeat(this.#progress)}\r`);
    this.#progress = 0;
  }

  /** Only "y" and "yes" are a yes. @throws InterruptedFailure at Ctrl-C */
  async confirm(question: string): Promise<boolean> {
    const { createInterface } = await import("node:readline");
    const reader = createInterface({ input: process.stdin, output: process.stderr });
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    reader.on("SIGINT", () => {
      reject(new InterruptedFailure("interrupted: nothing was written"));
    });
    let isAnswered = false;
    // The end of the input is no answer.
    reader.on("close", () => {
      if (!isAnswered) process.stderr.write("\n");
      resolve("");
    });
    reader.question(`${question} [y/N] `, (answer) => {
      isAnswered = true;
      resolve(answer);
    });
    try {
      return /^y(es)?$/i.test((await promise).trim());
    } finally {
      reader.close();
    }
  }
}

type Output = typeof standardOutput | typeof standardError;
const standardOutput = 1;
const standardError = 2;

/** Node's streams take longer to make than most outputs take to write. */
function put(output: Output, given: string | Uint8Array): void {
  const stream = streams.get(output);
  if (stream !== undefined) {
    stream.write(given);
    return;
  }
  let bytes = typeof given === "string" ? Buffer.from(given) : given;
  try {
    while (bytes.length > 0) bytes = bytes.subarray(writeSync(output, bytes));
  } catch (error) {
    // A pipe that another program made one that does not wait: the stream waits.
    if (codeOf(error) === "EAGAIN") streamOf(output).write(bytes);
    else endWith(output, error);
  }
}

const streams = new Map<Output, NodeJS.WriteStream>();

function streamOf(output: Output): NodeJS.WriteStream {
  const known = streams.get(output);
  if (known !== undefined) return known;
  const stream = output === standardOutput ? process.stdout : process.stderr;
  streams.set(output, stream);
  stream.on("error", (error) => endWith(output, error));
  return stream;
}

/** The reader of a pipe may have gone away, as `head` does: then nobody wants the rest. */
function endWith(output: Output, error: unknown): void {
  if (codeOf(error) === "EPIPE") process.exit(process.exitCode ?? 0);
  // Of what cannot be told there, the exit code is left.
  if (output === standardError) return;
  // Such as a full disk.
  const reason = error instanceof Error ? error.message : String(error);
  throw new UsageFailure(`Cannot write the output: ${reason}`, [], { cause: error });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

function layoutOf(output: Output): Layout {
  if (!isatty(output)) return { width: Number.POSITIVE_INFINITY, paint: unpainted };
  const { NO_COLOR: noColor = "", TERM: term } = process.env;
  const hasColor = noColor === "" && term !== "dumb";
  return {
    width: Math.max(leastWidth, streamOf(output).columns),
    paint: hasColor ? (text, style) => styleText(formats[style], text, { validateStream: false }) : unpainted,
  };
}
