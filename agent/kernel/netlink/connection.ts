/**
 * Requests, acknowledged batches and dumps on one netlink socket, one after the other.
 *
 * Nothing here can be taken for an answer that is not one: sequence numbers are checked, and what is cut short,
 * overrun, interrupted or late throws. After that the socket is replaced, so that no rest of the broken exchange
 * reaches the next.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import {
  controlType,
  encodedLength,
  encodeMessages,
  type MessageHeader,
  messageFlag,
  type NetlinkMessage,
  parseAcknowledgement,
  parseDone,
} from "../../../lib/netlink/message.ts";
import { type AnswerVisitor, exchange } from "./exchange.ts";
import { messageBytes } from "./options.ts";
import { openPackageSocket } from "./package-socket.ts";
import { type NetlinkError, netlinkError, refused } from "./refusal.ts";
import { type NetlinkSocket, openNetlinkSocket } from "./socket.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

/**
 * Called for each message of a dump; its payload is `view` from `start` to `end`. `view` lies over the receive
 * buffer and is valid only until the call returns.
 */
export type DumpVisitor = (type: number, view: DataView, start: number, end: number) => void;

export interface NetlinkConnection {
  /** One acknowledged request. Throws `netlink-failed` with the errno's name in `details.code` where it was refused. */
  request(message: NetlinkMessage, signal: AbortSignal): Promise<void>;
  /** Acknowledged requests, in order and each on its own: those after a refused one are carried out all the same. */
  batch(
    messages: readonly NetlinkMessage[],
    signal: AbortSignal,
  ): Promise<readonly (NetlinkError | undefined)[]>;
  /**
   * One dump. A table that changed meanwhile is read again, a few times, where `onRestart` says how to forget what
   * was visited so far; otherwise, or when it never stays still, this throws.
   */
  dump(
    message: NetlinkMessage,
    onMessage: DumpVisitor,
    signal: AbortSignal,
    onRestart?: () => void,
  ): Promise<void>;
  /** Ends what is under way with an error. May be called twice. */
  close(): void;
}

export interface ConversingConnection extends NetlinkConnection {
  /**
   * Sends `messages` in one piece and as they are, and gives `onAnswer` what comes back, with the place of the message
   * that it answers, until it returns true. For what is neither a batch nor a dump: a transaction, a reading by key.
   */
  converse(messages: readonly NetlinkMessage[], onAnswer: AnswerTo, signal: AbortSignal): Promise<void>;
}

/** An answer to the message at `index`; its payload is `view` from `start` to `end`. Returns true with the last one. */
export type AnswerTo = (
  index: number,
  header: Readonly<MessageHeader>,
  view: DataView,
  start: number,
  end: number,
) => boolean;

export interface NetlinkOptions {
  /** For one request, one part of a batch, or one run of a dump. */
  readonly timeoutMs?: number;
  /**
   * The most messages of a batch that are sent at once, 100 by default. The kernel works them off in one go, and its
   * refusals must fit the socket's receive buffer, or it drops some. Fewer where the event loop would be held up for long.
   */
  readonly partSize?: number;
  readonly open?: (protocol: number) => NetlinkSocket;
  /** Monotonic. */
  readonly nowMs?: () => number;
}

/** A connection in the namespace of this process. The socket is opened by the first call. */
export function openNetlink(protocol: number, options: NetlinkOptions = {}): ConversingConnection {
  const nowMs = () => performance.now();
  return new Connection(protocol, { open: openSocket, timeoutMs: 10_000, partSize: 100, nowMs, ...options });
}

/** rtnetlink goes by the `netlink` package, all else by libc: docs/adr/0002-netlink.md says why. */
function openSocket(protocol: number): NetlinkSocket {
  const socket = protocol === NETLINK_ROUTE ? openPackageSocket(protocol) : undefined;
  return socket ?? openNetlinkSocket(protocol);
}

/** A send must fit the socket's send buffer. */
const maxBatchBytes = 64 * 1024;
const maxDumpRuns = 5;
/** The kernel takes 10 µs for a route and up to 150 for one of 10,000 addresses, and others wait meanwhile. */
const mostHeldMs = 4;
const smallestPart = 20;

class Connection implements ConversingConnection {
  readonly #protocol: number;
  readonly #options: Required<NetlinkOptions>;
  readonly #buffer = new Uint8Array(messageBytes);
  #socket: NetlinkSocket | undefined;
  #sequence = 0;
  /** Of the next part of a batch. */
  #partSize: number;
  /** Settles when the last exchange asked for so far is over. */
  #tail: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(protocol: number, options: Required<NetlinkOptions>) {
    this.#protocol = protocol;
    this.#options = options;
    this.#partSize = options.partSize;
  }

  async request(message: NetlinkMessage, signal: AbortSignal): Promise<void> {
    const [error] = await this.batch([message], signal);
    if (error !== undefined) throw refused(error);
  }

  batch(messages: readonly NetlinkMessage[], signal: AbortSignal) {
    return this.#alone(async () => {
      const results: (NetlinkError | undefined)[] = [];
      while (results.length < messages.length) {
        const part = firstPart(messages, results.length, this.#partSize);
        const { errors, heldMs } = await this.#exchangeBatch(part, signal);
        for (const error of errors) results.push(error);
        this.#partSize = this.#nextSize(part.length, heldMs);
      }
      return results;
    });
  }

  dump(message: NetlinkMessage, onMessage: DumpVisitor, signal: AbortSignal, onRestart?: () => void) {
    return this.#alone(async () => {
      for (let run = 1; ; run++) {
        if (await this.#exchangeDump(message, onMessage, signal)) return;
        if (onRestart === undefined || run === maxDumpRuns) {
          throw new GatewayError(
            "netlink-failed",
            `dump of type ${message.type} was interrupted ${run} times`,
          );
        }
        onRestart();
      }
    });
  }

  converse(messages: readonly NetlinkMessage[], onAnswer: AnswerTo, signal: AbortSignal) {
    return this.#alone(async () => {
      const first = this.#take(messages.length);
      await this.#exchange(encodeMessages(messages, first, 0), signal, (header, view, start, end) => {
        const index = (header.sequence - first) >>> 0;
        return index < messages.length && onAnswer(index, header, view, start, end);
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  /** Runs `exchange` when all earlier ones are over. Whatever it throws leaves the socket in an unknown state. */
  #alone<T>(exchange: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(async () => {
      try {
        return await exchange();
      } catch (error) {
        this.#drop();
        throw error;
      }
    });
    this.#tail = run.catch(() => undefined);
    return run;
  }

  #drop(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** Only the last message asks for an acknowledgement: refusals come unasked, and before it, since all is done in order. */
  async #exchangeBatch(messages: readonly NetlinkMessage[], signal: AbortSignal) {
    const first = this.#take(messages.length);
    const last = messages.length - 1;
    const errors: (NetlinkError | undefined)[] = new Array(messages.length).fill(undefined);
    const asked = messages.map((message, index) =>
      index === last ? { ...message, flags: message.flags | messageFlag.ack } : message,
    );
    const begunMs = this.#options.nowMs();
    const exchanged = this.#exchange(encodeMessages(asked, first, 0), signal, (header, view, start, end) => {
      const index = (header.sequence - first) >>> 0;
      if (index > last || header.type !== controlType.error) return;
      const outcome = parseAcknowledgement(view, header.flags, start, end);
      if (outcome.errno !== 0) errors[index] = netlinkError(outcome);
      return index === last;
    });
    // It has been sent when the call returns, by a socket that sends by itself.
    const heldMs = this.#options.nowMs() - begunMs;
    await exchanged;
    return { errors, heldMs };
  }

  /** @returns false where the table changed during the dump. */
  async #exchangeDump(
    message: NetlinkMessage,
    onMessage: DumpVisitor,
    signal: AbortSignal,
  ): Promise<boolean> {
    const sequence = this.#take(1);
    let isConsistent = true;
    await this.#exchange(
      encodeMessages([message], sequence, messageFlag.dump),
      signal,
      (header, view, start, end) => {
        if (header.sequence !== sequence) return;
        if (header.flags & messageFlag.dumpInterrupted) isConsistent = false;
        switch (header.type) {
          case controlType.noop:
            return;
          case controlType.error:
            throw refused(netlinkError(parseAcknowledgement(view, header.flags, start, end)));
          case controlType.overrun:
            throw new GatewayError("netlink-failed", "the kernel lost messages of a dump");
          case controlType.done: {
            const outcome = parseDone(view, header.flags, start, end);
            if (outcome.errno !== 0) throw refused(netlinkError(outcome));
            return true;
          }
          default:
            onMessage(header.type, view, start, end);
            return;
        }
      },
    );
    return isConsistent;
  }

  #exchange(bytes: Uint8Array, signal: AbortSignal, visit: AnswerVisitor): Promise<void> {
    signal.throwIfAborted();
    return exchange(this.#connect(), bytes, this.#buffer, this.#options.timeoutMs, signal, visit);
  }

  /** Of the part after one of `count` messages, so that none holds up the event loop for long. */
  #nextSize(count: number, heldMs: number): number {
    const { partSize: most } = this.#options;
    if (heldMs <= mostHeldMs) return Math.min(2 * this.#partSize, most);
    return Math.min(Math.max(Math.floor((count * mostHeldMs) / heldMs), smallestPart), most);
  }

  #connect(): NetlinkSocket {
    if (this.#isClosed) throw new GatewayError("netlink-failed", "the netlink connection is closed");
    this.#socket ??= this.#options.open(this.#protocol);
    return this.#socket;
  }

  #take(count: number): number {
    const first = this.#sequence + 1;
    this.#sequence = (this.#sequence + count) >>> 0;
    return first >>> 0;
  }
}

function firstPart(
  messages: readonly NetlinkMessage[],
  from: number,
  most: number,
): readonly NetlinkMessage[] {
  let to = from;
  for (let bytes = 0; to < messages.length && to - from < most; to++) {
    const message = messages[to];
    bytes += message === undefined ? 0 : encodedLength(message);
    if (bytes > maxBatchBytes && to > from) break;
  }
  return messages.slice(from, to);
}
