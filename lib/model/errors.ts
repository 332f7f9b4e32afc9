/**
 * All error codes of the agent. `status` is the HTTP status, if the error reaches a caller. `docs/api.md` lists the
 * codes that callers see; a test compares the two.
 */
export const errorCodes = {
  "malformed-http": { status: 400, title: "The request is not valid HTTP" },
  "malformed-json": { status: 400, title: "The body is not JSON" },
  unauthorized: { status: 401, title: "Valid credentials are needed" },
  forbidden: { status: 403, title: "Not allowed" },
  "not-found": { status: 404, title: "No such object" },
  "method-not-allowed": { status: 405, title: "The path does not take this method" },
  "request-timeout": { status: 408, title: "The request took too long to come in" },
  conflict: { status: 409, title: "The identity is taken" },
  "in-use": { status: 409, title: "The object is in use" },
  "stale-generation": { status: 409, title: "The generation is not newer" },
  "not-adopted": { status: 409, title: "The gateway's live state was not adopted yet" },
  gone: { status: 410, title: "The uid was deleted and cannot be used again" },
  "events-expired": { status: 410, title: "Events since that id are missing" },
  "precondition-failed": { status: 412, title: "The revision has moved on" },
  "too-large": { status: 413, title: "The body is too large" },
  "unsupported-media-type": { status: 415, title: "The body must be application/json" },
  "expectation-failed": { status: 417, title: "The expectation cannot be met" },
  invalid: { status: 422, title: "The input is not valid" },
  "rate-limited": { status: 429, title: "Too many requests" },
  "headers-too-large": { status: 431, title: "The headers are too large" },
  internal: { status: 500, title: "The agent failed" },
  overloaded: { status: 503, title: "Too many requests at the same time" },
  "storage-unavailable": { status: 503, title: "The write could not be stored" },
  /** The kernel refused a transaction. Nothing of it was applied. */
  "rules-refused": { status: 500, title: "The kernel refused rules" },
  /** A command had an unexpected exit code, hung or could not start. */
  "command-failed": { status: 500, title: "A command failed" },
  /** A netlink request failed or its answer was incomplete. */
  "netlink-failed": { status: 500, title: "A netlink request failed" },
  /** State that was read cannot be parsed. It never counts as empty. */
  unreadable: { status: 500, title: "Kernel state could not be read" },
  /** Both iptables variants hold owned rules. */
  "mixed-variants": { status: 500, title: "Both iptables variants hold owned rules" },
  /** A setting is invalid. The agent does not start. */
  "bad-config": { status: 500, title: "A setting is wrong" },
  /** Another agent serves this namespace. */
  "already-running": { status: 500, title: "Another agent runs in this namespace" },
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** Where the input is wrong (an RFC 6901 pointer), and why. */
export interface InputIssue {
  readonly pointer: string;
  readonly message: string;
}

/** Catches what could not be read. Any other error is a bug. */
export function undefinedIfUnreadable(error: unknown): undefined {
  if (!(error instanceof GatewayError)) throw error;
}

/**
 * A failure with a stable code. Expected outcomes are return values; this is thrown if the system or a caller breaks
 * the contract.
 */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  readonly issues: readonly InputIssue[];
  /** Additional members of the problem document: the object in the way, the users of an EIP. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly issues?: readonly InputIssue[];
      readonly details?: Readonly<Record<string, unknown>>;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "GatewayError";
    this.code = code;
    this.issues = options.issues ?? [];
    this.details = options.details ?? {};
  }
}
