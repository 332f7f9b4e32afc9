/** A long answer in progress: one piece per turn of the event loop, and no more than the client reads. */
import { Readable } from "node:stream";
import { type Pieces, pieceLength } from "./pieces.ts";
import type { Place } from "./places.ts";
import type { Turns } from "./turns.ts";

export class AnswerStream extends Readable {
  readonly #pieces: Pieces;
  readonly #turns: Turns;
  readonly #place: Place;

  constructor(pieces: Pieces, turns: Turns, place: Place) {
    super({ highWaterMark: pieceLength });
    this.#pieces = pieces;
    this.#turns = turns;
    this.#place = place;
    place.cut = (reason) => this.destroy(reason);
  }

  override _read(): void {
    this.#place.idleSinceMs = Number.POSITIVE_INFINITY;
    void this.#pushPiece();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#pieces.end();
    this.#place.release();
    done(error);
  }

  async #pushPiece(): Promise<void> {
    try {
      for (;;) {
        await this.#turns.next();
        if (this.destroyed) return;
        const { text, isLast } = this.#pieces.next();
        if (text !== "") {
          this.#place.idleSinceMs = performance.now();
          this.push(text);
        }
        if (isLast) this.push(null);
        if (isLast || text !== "") return;
      }
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
