/**
 * Failed authentications of each peer. After too many, the peer is refused for a while, whatever it shows: it cannot go on
 * guessing. Who was admitted from there lately stays admitted: somebody else at the same address does not lock them out.
 */

export interface FailureLimits {
  /** Failures that a peer may have at once. */
  readonly most: number;
  /** Milliseconds after which one failure is forgotten. */
  readonly forgetMs: number;
  /** How long an admission protects from the failures of others at the same address, in ms. */
  readonly admittedMs: number;
  /** Peers and admissions that are remembered. Beyond, the one that was quiet for longest is forgotten. */
  readonly remembered: number;
}

export const failureLimits: FailureLimits = {
  most: 20,
  forgetMs: 1_000,
  admittedMs: 3_600_000,
  remembered: 4_096,
};

interface Failures {
  readonly count: number;
  readonly atMs: number;
}

export class FailedAttempts {
  readonly #limits: FailureLimits;
  readonly #nowMs: () => number;
  /** The one that was quiet for longest first. */
  readonly #failures = new Map<string, Failures>();
  readonly #admitted = new Map<string, number>();

  /** @param nowMs monotonic */
  constructor(nowMs: () => number, limits: Partial<FailureLimits> = {}) {
    this.#nowMs = nowMs;
    this.#limits = { ...failureLimits, ...limits };
  }

  /** Milliseconds until the peer may try again; 0: now. */
  waitMs(peer: string): number {
    const { most, forgetMs } = this.#limits;
    const beyond = this.#countOf(peer) - (most - 1);
    return beyond <= 0 ? 0 : Math.ceil(Math.round(beyond * forgetMs * 1_000) / 1_000);
  }

  failed(peer: string): void {
    const count = Math.min(this.#limits.most, this.#countOf(peer) + 1);
    this.#remember(this.#failures, peer, { count, atMs: this.#nowMs() });
  }

  admitted(peer: string, caller: string): void {
    this.#remember(this.#admitted, keyOf(peer, caller), this.#nowMs());
  }

  wasAdmitted(peer: string, caller: string): boolean {
    const atMs = this.#admitted.get(keyOf(peer, caller));
    return atMs !== undefined && this.#nowMs() - atMs < this.#limits.admittedMs;
  }

  /** How many are not forgotten yet, with fractions. */
  #countOf(peer: string): number {
    const known = this.#failures.get(peer);
    if (known === undefined) return 0;
    return Math.max(0, known.count - (this.#nowMs() - known.atMs) / this.#limits.forgetMs);
  }

  #remember<T>(map: Map<string, T>, key: string, value: T): void {
    map.delete(key);
    map.set(key, value);
    const [oldest] = map.keys();
    if (map.size > this.#limits.remembered && oldest !== undefined) map.delete(oldest);
  }
}

function keyOf(peer: string, caller: string): string {
  return `${peer} ${caller}`;
}
