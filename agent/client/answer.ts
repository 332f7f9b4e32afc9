/** What the client and its transports have in common. */

/** Where the agent is: its Unix socket, or a URL with what is needed to be let in. */
export type Target =
  | { readonly socket: string }
  | {
      /** Such as `https://10.0.0.5:9477`. `http://` is for loopback addresses. */
      readonly server: string;
      /** The file of the bearer token. It is read for every request, because tokens are renewed in place. */
      readonly tokenFile?: string | undefined;
      /** PEM files: the CA of the agent's certificate, and the client's own certificate with its key. */
      readonly ca?: string | undefined;
      readonly cert?: string | undefined;
      readonly key?: string | undefined;
    };

/** The agent could not be reached, or the connection broke before the whole answer was there. Whether a write was stored is unknown. */
export class ConnectionError extends Error {
  constructor(message: string, cause: unknown) {
    super(`${message}: ${(cause instanceof Error ? cause.message : String(cause)).trim()}`, { cause });
    this.name = "ConnectionError";
  }
}

/** Nothing was sent, because a file of the target cannot be used. */
export class CredentialsError extends ConnectionError {
  constructor(message: string, cause: unknown) {
    super(message, cause);
    this.name = "CredentialsError";
  }
}

export interface Call {
  readonly method: string;
  /** The path with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
}

/** An answer of which the headers are there. */
export interface Answer {
  readonly status: number;
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body, as it comes. Throws if it ends early. */
  readonly text: AsyncIterable<string>;
}

export interface Transport {
  /** Sends a request. @throws {@link ConnectionError} */
  send(call: Call): Promise<Answer>;
  /** Closes the connections. Can be called twice. */
  close(): void;
}

/** Prepares a transport. Connects only when a request is sent. @throws if a file of the target cannot be read */
export type OpenTransport<T extends Target = Target> = (target: T) => Promise<Transport> | Transport;
