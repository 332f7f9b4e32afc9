/** What is around an agent and survives it: its disk, the other hosts, the time. */
import type { Clock } from "../../../agent/clock.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { reduce } from "../../../lib/state/reduce.ts";
import { emptyState, type Instant, type State, type StateChange } from "../../../lib/state/state.ts";

/** The disk: survives its agents. */
export class Disk {
  state: State = emptyState;
  isFull = false;

  /** Durable at once. Encodes and decodes the changes as JSON. */
  keep(changes: readonly StateChange[]): void {
    this.state = reduce(this.state, JSON.parse(JSON.stringify(changes)) as readonly StateChange[]);
  }
}

/** The other hosts on the external network. */
export class Wire {
  /** Addresses that other hosts hold. */
  readonly claimed = new Set<Ip>();
  /** While it is slow, probes wait for {@link answer}. */
  isSlow = false;
  /** How often each address was probed. */
  readonly probes = new Map<Ip, number>();
  #waiting: (() => void)[] = [];

  claim(address: Ip | undefined, isClaimed: boolean): void {
    if (address === undefined) return;
    if (isClaimed) this.claimed.add(address);
    else this.claimed.delete(address);
  }

  async asked(): Promise<void> {
    if (this.isSlow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  answer(): void {
    this.isSlow = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export class ModelClock implements Clock {
  #ms = 0;

  pass(ms: number): void {
    this.#ms += ms;
  }
  wallMs(): number {
    return 1_700_000_000_000 + this.#ms;
  }
  bootMs(): number {
    return 1_000 + this.#ms;
  }
  instant(): Instant {
    return { bootId: "boot-1", bootMs: this.bootMs(), wallMs: this.wallMs() };
  }
}
