/**
 * The events of one reader, as text. Nothing waits in memory for it but a place in the log and a piece of text or two:
 * the next piece is made when the reader took the last one.
 */
import { Readable } from "node:stream";
import { type EventFilter, isWanted, typesOf } from "../../../lib/events/filter.ts";
import { pieceLength } from "../answers/pieces.ts";
import type { Turns } from "../answers/turns.ts";
import type { BoardPort, EventsPort, ViewPort } from "../ports.ts";
import { type Frames, heartbeat } from "./frames.ts";

export interface EventStreamDeps {
  readonly events: EventsPort;
  readonly board: Pick<BoardPort, "view">;
  readonly frames: Frames;
  readonly turns: Turns;
}

/** What a reader asked for. */
export interface Subscription {
  readonly filter: EventFilter;
  /** The sequence after which it reads. */
  readonly after: number;
  /** Sent before all events: the resync, if events are missing. */
  readonly opening: string;
  /** False: the stream ends with the last event that there is. */
  readonly isFollowing: boolean;
}

/** Why a reader was cut off: it took nothing for too long, or the log lost events that it had not read. */
export type CutOffReason = "stalled" | "behind";

export interface StreamListener {
  /** The stream ended or was destroyed. Called once. */
  readonly onEnd: (stream: EventStream) => void;
  readonly onCutOff: (reason: CutOffReason) => void;
}

/** Events that are looked at, and made text of, in one turn of the event loop: a few milliseconds of work. */
const seenPerTurn = 4_000;
const madePerTurn = 100;
/** A reader that was cut off can read the reason for so long. */
const lastWordsMs = 5_000;

const explanations: Readonly<Record<CutOffReason, string>> = {
  stalled: "the reader took nothing for too long",
  behind: "the reader is so slow that events were lost; go on with the last id",
};

export class EventStream extends Readable {
  readonly #deps: EventStreamDeps;
  readonly #listener: StreamListener;
  readonly #subscription: Subscription;
  readonly #types: ReturnType<typeof typesOf>;
  #opening: string;
  #cursor: number;
  /** The reader took all there was. */
  #isHungry = false;
  #isRunning = false;
  #hasEnded = false;
  #isHeartbeatDue = true;
  #pushedAtMs = performance.now();
  #lastWords: NodeJS.Timeout | undefined;

  constructor(deps: EventStreamDeps, subscription: Subscription, listener: StreamListener) {
    super({ highWaterMark: pieceLength });
    this.#deps = deps;
    this.#listener = listener;
    this.#subscription = subscription;
    this.#types = typesOf(subscription.filter);
    this.#opening = subscription.opening;
    this.#cursor = subscription.after;
  }

  override _read(): void {
    this.#isHungry = true;
    this.look();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#lastWords);
    this.#end();
    done(error);
  }

  /** There may be new events. */
  look(): void {
    if (this.#isHungry && !this.#isRunning && !this.#hasEnded) void this.#run();
  }

  /** Sends a comment that moves the reader's id forward, after the events before it. */
  beat(): void {
    this.#isHeartbeatDue = true;
    this.look();
  }

  /** Cuts the reader off if it took nothing since `stallMs`, though something waits for it. */
  cutIfStalled(stallMs: number): void {
    const { events } = this.#deps;
    const isOwed = !this.#isHungry && (this.#isHeartbeatDue || this.#cursor < events.sequence);
    if (isOwed && performance.now() - this.#pushedAtMs >= stallMs) this.#cutOff("stalled");
  }

  /** Ends the stream with a comment. */
  close(comment: string): void {
    if (this.#hasEnded) return;
    this.push(`: ${comment}\n\n`);
    this.push(null);
    this.#end();
    this.#lastWords = setTimeout(() => this.destroy(), lastWordsMs).unref();
  }

  #cutOff(reason: CutOffReason): void {
    if (this.#hasEnded) return;
    this.#listener.onCutOff(reason);
    this.close(`cut off: ${explanations[reason]}`);
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#listener.onEnd(this);
  }

  /** One piece in a turn, until the reader is full or has everything. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      while (this.#isHungry && !this.#hasEnded) {
        await this.#deps.turns.next();
        if (this.#hasEnded || this.#advance()) break;
      }
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#isRunning = false;
    }
  }

  /** @returns true if the reader has everything */
  #advance(): boolean {
    const { log, epoch, sequence } = this.#deps.events;
    if (this.#cursor < log.floor(this.#types)) {
      this.#cutOff("behind");
      return true;
    }
    let text = this.#opening;
    this.#opening = "";
    const made = this.#make(pieceLength - text.length);
    text += made.text;
    if (made.isAll) this.#cursor = sequence;
    if (made.isAll && this.#isHeartbeatDue) {
      this.#isHeartbeatDue = false;
      text += heartbeat(epoch, sequence);
    }
    if (text !== "") {
      this.#isHungry = false;
      this.#pushedAtMs = performance.now();
      this.push(text);
    }
    if (made.isAll && !this.#subscription.isFollowing) {
      this.push(null);
      this.#end();
    }
    return made.isAll;
  }

  #make(length: number): { readonly text: string; readonly isAll: boolean } {
    const { events, frames, board } = this.#deps;
    let view: ViewPort | undefined;
    let text = "";
    let [seen, made] = [0, 0];
    for (const event of events.log.after(this.#cursor)) {
      if (text.length >= length || seen >= seenPerTurn || made >= madePerTurn) return { text, isAll: false };
      seen++;
      this.#cursor = event.sequence;
      if (!isWanted(this.#subscription.filter, event)) continue;
      made++;
      view ??= board.view();
      text += frames.textOf(event, view);
    }
    return { text, isAll: true };
  }
}
