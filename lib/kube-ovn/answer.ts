/** The answer to a call of `nat-gateway.sh`, in a form that a few lines of shell can read. */

export interface Answer {
  readonly exitCode: 0 | 1;
  /** Lines without a newline. */
  readonly stdout: readonly string[];
  /** The controller takes a call for failed if there is anything here. */
  readonly stderr: readonly string[];
}

/** Instead of an answer: the agent stops or starts again, and the call is to be repeated. */
export const again = "again";

export const success: Answer = { exitCode: 0, stdout: [], stderr: [] };

export function failure(message: string): Answer {
  return { exitCode: 1, stdout: [], stderr: [message] };
}

/** What contradicts an object that exists. The controller expects the reason on stdout. */
export function conflict(message: string): Answer {
  return { exitCode: 1, stdout: [message], stderr: [] };
}

/**
 * One line for each line of output, `out` or `err` before it. The last line is `exit` and the code: without it the answer was cut.
 * The only line can be `again`.
 */
export function answerText(answer: Answer | typeof again): string {
  if (answer === again) return `${again}\n`;
  const { exitCode, stdout, stderr } = answer;
  const lines = [
    ...stdout.map((line) => `out ${plain(line)}`),
    ...stderr.map((line) => `err ${plain(line)}`),
    `exit ${exitCode}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** The arguments of a call: each ends with NUL, which no argument can contain. */
export function argumentsIn(body: string): readonly string[] {
  const parts = body.split("\0");
  return parts.at(-1) === "" ? parts.slice(0, -1) : parts;
}

/** On one line. */
function plain(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}
