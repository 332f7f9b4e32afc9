/** How a command can fail, each with its exit code. Everything else that is thrown is a bug. */

/** 0: as asked. */
export const exitCodes = {
  /** A difference, something not Ready, a failed check. */
  different: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The agent cannot be reached, or answered 5xx. */
  unavailable: 3,
  /** The agent refused: 4xx. */
  refused: 4,
  /** natgwctl itself is wrong. */
  bug: 70,
  /** Ended by Ctrl-C, as shells count it. */
  interrupted: 130,
} as const;

export type Problem = {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly pointer: string; readonly message: string }[];
} & Readonly<Record<string, unknown>>;

/** A failure that is told to the user in one or more lines. */
export abstract class CliFailure extends Error {
  abstract readonly exitCode: number;
  /** Lines after the message. */
  readonly more: readonly string[];

  constructor(message: string, more: readonly string[] = [], options?: ErrorOptions) {
    super(message, options);
    this.more = more;
  }
}

export class UsageFailure extends CliFailure {
  readonly exitCode = exitCodes.usage;
}

export class UnavailableFailure extends CliFailure {
  readonly exitCode = exitCodes.unavailable;
}

/** Something differs or is not Ready, and there is nothing to print but that. */
export class DifferenceFailure extends CliFailure {
  readonly exitCode = exitCodes.different;
}

export class InterruptedFailure extends CliFailure {
  readonly exitCode = exitCodes.interrupted;
}

/** A 4xx of the agent. */
export class RefusedFailure extends CliFailure {
  readonly exitCode = exitCodes.refused;
  readonly status: number;
  readonly problem: Problem;

  constructor(status: number, problem: Problem, hints: readonly string[] = []) {
    super(problem.detail ?? problem.title ?? `the agent answered ${status}`, [
      ...detailsOf(problem),
      ...hints,
    ]);
    this.status = status;
    this.problem = problem;
  }

  get code(): string | undefined {
    return this.problem.code;
  }
}

/** The errors with their pointers, and the objects in the way. */
function detailsOf({ code, errors = [], users, clashes }: Problem): readonly string[] {
  return [
    ...errors.map(({ pointer, message }) => `  ${pointer === "" ? "/" : pointer}: ${message}`),
    ...(Array.isArray(users) ? users.map((user) => `  used by ${user}`) : []),
    ...(code === "in-use" && Array.isArray(users) ? ["--cascade deletes them, too"] : []),
    ...(Array.isArray(clashes) && clashes.length > 1
      ? clashes.map((clash) => `  ${String((clash as { message?: unknown }).message)}`)
      : []),
  ];
}
