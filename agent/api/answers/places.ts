/**
 * Places for long answers: only a few are in progress at the same time. An answer whose client does not read gives its
 * place to the next request. So the memory of answers is bounded, however many clients never read, and clients that
 * read get a place.
 */
import { GatewayError } from "../../../lib/model/errors.ts";

export interface PlaceLimits {
  /** Maximum number of long answers in progress. */
  readonly most: number;
  /** A client that read nothing for this long gives its place to a waiting request. */
  readonly maxIdleMs: number;
  /** A request that waited this long is refused. */
  readonly waitMs: number;
}

export const placeLimits: PlaceLimits = { most: 32, maxIdleMs: 500, waitMs: 30_000 };

export class Place {
  /** The time since which the client reads nothing. Infinite while the agent has to send. */
  idleSinceMs = Number.POSITIVE_INFINITY;
  /** Ends the answer, which then releases its place. */
  cut: (reason: Error) => void = () => undefined;
  readonly #onRelease: (place: Place) => void;

  constructor(onRelease: (place: Place) => void) {
    this.#onRelease = onRelease;
  }

  /** Can be called twice. */
  release(): void {
    this.#onRelease(this);
  }
}

export class Places {
  readonly #limits: PlaceLimits;
  readonly #taken = new Set<Place>();
  readonly #waiting = new Set<(place: Place | undefined) => void>();
  #check: NodeJS.Timeout | undefined;

  constructor(limits: Partial<PlaceLimits> = {}) {
    this.#limits = { ...placeLimits, ...limits };
  }

  /** @throws `overloaded` if no place became free in time, or the signal aborted */
  async take(signal: AbortSignal): Promise<Place> {
    const isFree = this.#taken.size < this.#limits.most && this.#waiting.size === 0;
    const place = isFree ? this.#newPlace() : await this.#placeInTime(signal);
    if (place === undefined) throw new GatewayError("overloaded", "Too many long answers are in progress");
    return place;
  }

  #newPlace(): Place {
    const place = new Place((released) => this.#released(released));
    this.#taken.add(place);
    return place;
  }

  #placeInTime(signal: AbortSignal): Promise<Place | undefined> {
    return new Promise((resolve) => {
      const settle = (place: Place | undefined): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
        this.#waiting.delete(settle);
        resolve(place);
      };
      const giveUp = (): void => settle(undefined);
      const timer = setTimeout(giveUp, this.#limits.waitMs);
      signal.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(settle);
      this.#makeRoom();
    });
  }

  #released(place: Place): void {
    if (!this.#taken.delete(place)) return;
    const [next] = this.#waiting;
    next?.(this.#newPlace());
  }

  /**
   * While requests wait: ends the answer whose client has read nothing for the longest time, if that is long enough.
   */
  readonly #makeRoom = (): void => {
    clearTimeout(this.#check);
    if (this.#waiting.size === 0) return;
    const slowest = [...this.#taken].reduce((one, other) =>
      other.idleSinceMs < one.idleSinceMs ? other : one,
    );
    const isStuck = performance.now() - slowest.idleSinceMs >= this.#limits.maxIdleMs;
    if (isStuck) slowest.cut(new Error("the client does not read, and other requests wait"));
    this.#check = setTimeout(this.#makeRoom, isStuck ? 1 : this.#limits.maxIdleMs / 4).unref();
  };
}
