/**
 * The readers of events: how many there may be, what wakes them, and when one is cut off. What waits for a reader in
 * memory is bounded: two pieces of 32 KiB and what the socket holds, for at most 64 readers.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import { type CutOffReason, EventStream, type EventStreamDeps, type Subscription } from "./event-stream.ts";

export interface ReaderLimits {
  readonly most: number;
  readonly heartbeatMs: number;
  /** A reader that took nothing for so long, though something waits for it, is cut off. */
  readonly stallMs: number;
}

export const readerLimits: ReaderLimits = { most: 64, heartbeatMs: 15_000, stallMs: 10_000 };

export interface ReaderObserver {
  readonly onCount: (readers: number) => void;
  readonly onCutOff: (reason: CutOffReason) => void;
}

/** How often it is looked who is cut off. */
const looksPerStall = 5;

export class Readers {
  readonly #deps: EventStreamDeps;
  readonly #observer: ReaderObserver;
  readonly #limits: ReaderLimits;
  readonly #streams = new Set<EventStream>();
  /** Those whose reader showed no credentials that can change. */
  readonly #local = new WeakSet<EventStream>();
  readonly #stop: (() => void)[] = [];

  constructor(deps: EventStreamDeps, observer: ReaderObserver, limits: Partial<ReaderLimits> = {}) {
    this.#deps = deps;
    this.#observer = observer;
    this.#limits = { ...readerLimits, ...limits };
  }

  /**
   * @param isLocal by the Unix socket
   * @throws `overloaded` if there are too many
   */
  open(subscription: Subscription, isLocal: boolean): EventStream {
    const { most } = this.#limits;
    if (this.#streams.size >= most)
      throw new GatewayError("overloaded", `${most} readers of events are connected`);
    const stream = new EventStream(this.#deps, subscription, {
      onEnd: (ended) => {
        if (!this.#streams.delete(ended)) return;
        this.#observer.onCount(this.#streams.size);
        if (this.#streams.size === 0) this.#rest();
      },
      onCutOff: this.#observer.onCutOff,
    });
    if (this.#streams.size === 0) this.#wake();
    this.#streams.add(stream);
    if (isLocal) this.#local.add(stream);
    this.#observer.onCount(this.#streams.size);
    return stream;
  }

  /** Ends all streams. */
  close(comment: string): void {
    for (const stream of [...this.#streams]) stream.close(comment);
  }

  /** Ends the streams of those whose credentials may be good no more: who has others comes again. */
  revoke(): void {
    for (const stream of [...this.#streams])
      if (!this.#local.has(stream)) stream.close("credentials changed; go on with the last id");
  }

  #wake(): void {
    const { heartbeatMs, stallMs } = this.#limits;
    const forEach = (visit: (stream: EventStream) => void) => () => [...this.#streams].forEach(visit);
    const beats = setInterval(
      forEach((stream) => stream.beat()),
      heartbeatMs,
    ).unref();
    const checks = setInterval(
      forEach((stream) => stream.cutIfStalled(stallMs)),
      stallMs / looksPerStall,
    ).unref();
    this.#stop.push(
      this.#deps.events.onEvents(forEach((stream) => stream.look())),
      () => clearInterval(beats),
      () => clearInterval(checks),
    );
  }

  #rest(): void {
    for (const stop of this.#stop.splice(0)) stop();
  }
}
