/**
 * Requests, acknowledged batches and dumps on one netlink socket, one at a time.
 *
 * A wrong answer is never accepted: sequence numbers are checked, and a truncated, overrun, interrupted or late answer
 * throws. Then the socket is replaced, so that the rest of the broken exchange cannot reach the next one.
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
export const NETLINK_XFRM = 6;
export const NETLINK_NETFILTER = 12;

/**
 * Called for each message of a dump. Its payload is `view` from `start` to `end`. `view` is the receive buffer and is
 * valid only until the call returns.
 */
export type DumpVisitor = (type: number, view: DataView, start: number, end: number) => void;

export interface NetlinkConnection {
  /** One acknowledged request. If refused, throws `netlink-failed` with the errno's name in `details.code`. */
  request(message: NetlinkMessage, signal: AbortSignal): Promise<void>;
  /** Acknowledged requests, in order and independent: those after a refused one are executed all the same. */
  batch(
    messages: readonly NetlinkMessage[],
    signal: AbortSignal,
  ): Promise<readonly (NetlinkError | undefined)[]>;
  /**
   * One dump. If the table changed during the dump, reads it again a few times, if `onRestart` is given to discard what
   * was visited. Otherwise, or if the table keeps changing, it throws.
   */
  dump(
    message: NetlinkMessage,
    onMessage: DumpVisitor,
    signal: AbortSignal,
    onRestart?: () => void,
  ): Promise<void>;
  /** Ends what is in progress with an error. Can be called twice. */
  close(): void;
}

export interface ConversingConnection extends NetlinkConnection {
  /**
   * Sends `messages` unchanged in one send. Passes each answer to `onAnswer`, with the index of the message it answers,
   * until that returns true. For exchanges that are neither a batch nor a dump: a transaction, a read by key.
   */
  converse(messages: readonly NetlinkMessage[], onAnswer: AnswerTo, signal: AbortSignal): Promise<void>;
}

/** An answer to the message at `index`. Its payload is `view` from `start` to `end`. Returns true for the last one. */
export type AnswerTo = (
  index: number,
  header: Readonly<MessageHeader>,
  view: DataView,
  start: number,
  end: number,
) => boolean;

export interface NetlinkOptions {
  /** Timeout in ms for one request, one part of a batch, or one run of a dump. */
  readonly timeoutMs?: number;
  /**
   * Maximum number of messages of a batch that are sent at once, 100 by default. The kernel processes them in one call,
   * and its refusals must fit into the socket's receive buffer, otherwise some are dropped. Fewer are sent if that
   * would block the event loop for too long.
   */
  readonly partSize?: number;
  readonly open?: (protocol: number) => NetlinkSocket;
}

/** A connection in the namespace of this process. The first call opens the socket. */
export function openNetlink(protocol: number, options: NetlinkOptions = {}): ConversingConnection {
  return new Connection(protocol, { open: openSocket, timeoutMs: 10_000, partSize: 100, ...options });
}

/** rtnetlink uses the `netlink` package, everything else libc; see docs/adr/0002-netlink.md. */
function openSocket(protocol: number): NetlinkSocket {
  const socket = protocol === NETLINK_ROUTE ? openPackageSocket(protocol) : undefined;
  return socket ?? openNetlinkSocket(protocol);
}

/** A send must fit into the socket's send buffer. */
const maxBatchBytes = 64 * 1024;
const maxDumpRuns = 5;
/**
 * Time for which one send may block the event loop. The kernel needs 10 µs for a route and up to 150 µs for one of
 * 10,000 addresses.
 */
const maxBlockedMs = 4;
const smallestPart = 20;

class Connection implements ConversingConnection {
  readonly #protocol: number;
  readonly #options: Required<NetlinkOptions>;
  readonly #buffer = new Uint8Array(messageBytes);
  #socket: NetlinkSocket | undefined;
  #sequence = 0;
  /** The size of the next part of a batch. */
  #partSize: number;
  /** Settles when the last requested exchange is over. */
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
        for (const error of await this.#exchangeBatch(part, signal)) results.push(error);
        this.#partSize = this.#nextSize(part.length, this.#socket?.blockedMs ?? 0);
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

  /** Runs `exchange` after all earlier ones. If it throws, the socket is in an unknown state. */
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

  /**
   * Only the last message requests an acknowledgement. Refusals are always sent, and come before it, because the kernel
   * works in order.
   */
  async #exchangeBatch(messages: readonly NetlinkMessage[], signal: AbortSignal) {
    const first = this.#take(messages.length);
    const last = messages.length - 1;
    const errors: (NetlinkError | undefined)[] = new Array(messages.length).fill(undefined);
    const asked = messages.map((message, index) =>
      index === last ? { ...message, flags: message.flags | messageFlag.ack } : message,
    );
    await this.#exchange(encodeMessages(asked, first, 0), signal, (header, view, start, end) => {
      const index = (header.sequence - first) >>> 0;
      if (index > last || header.type !== controlType.error) return;
      const outcome = parseAcknowledgement(view, header.flags, start, end);
      if (outcome.errno !== 0) errors[index] = netlinkError(outcome);
      return index === last;
    });
    return errors;
  }

  /** @returns false if the table changed during the dump */
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

  /** The size of the part after one of `count` messages, so that no part blocks the event loop for long. */
  #nextSize(count: number, blockedMs: number): number {
    const { partSize: most } = this.#options;
    if (blockedMs <= maxBlockedMs) return Math.min(2 * this.#partSize, most);
    return Math.min(Math.max(Math.floor((count * maxBlockedMs) / blockedMs), smallestPart), most);
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
