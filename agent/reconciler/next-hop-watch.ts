/**
 * Watches which next hops do not answer ARP. Each pass says which next hops to watch. Between passes the kernel's
 * neighbour table is read every second, which costs one exchange, and a change wakes a pass. For an unresolved next hop
 * the kernel is made to send ARP requests, as for a packet. A dry run sends none.
 */
import { stabilize } from "../../lib/memoize.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { isSilentNow, type NextHop } from "../../lib/plan/reach/next-hops.ts";
import type { Neighbours } from "../kernel/drivers.ts";

export interface NextHopWatchDeps {
  readonly neighbours: Neighbours;
  readonly wake: (reason: string) => void;
}

const pollIntervalMs = 1_000;
/** For one request the kernel sends up to three ARP packets, one second apart. */
const pollsPerArpRequest = 5;
const noHops: readonly NextHop[] = [];

export class NextHopWatch {
  readonly #deps: NextHopWatchDeps;
  readonly #keep = stabilize<readonly NextHop[]>((one, other) => keysOf(one) === keysOf(other));
  readonly #abort = new AbortController();
  #hops = noHops;
  #silent = noHops;
  #polls = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: NextHopWatchDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setTimeout(async () => {
      const before = this.#silent;
      // A failed poll is ignored: the next poll or the pass gets the same error.
      const after = await this.#poll(this.#polls++ % pollsPerArpRequest === 0).catch(toUndefined);
      if (after !== undefined && after !== before) this.#deps.wake("next hop");
      if (!this.#abort.signal.aborted) this.start();
    }, pollIntervalMs).unref();
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  /**
   * @param sendsArp false: only reads
   * @returns the ones of `hops` that do not answer; the same array as last time if unchanged
   */
  async observe(hops: readonly NextHop[], sendsArp: boolean): Promise<readonly NextHop[]> {
    this.#hops = hops;
    return this.#poll(sendsArp);
  }

  async #poll(sendsArp: boolean): Promise<readonly NextHop[]> {
    const { neighbours } = this.#deps;
    const hops = this.#hops;
    const states = await neighbours.states(hops, this.#abort.signal);
    const before = new Set(this.#silent.map(keyOf));
    const silent = hops.filter((hop, at) => isSilentNow(states[at] ?? "unknown", before.has(keyOf(hop))));
    if (hops === this.#hops) this.#silent = this.#keep(silent);
    const unresolved = hops.filter((_, at) => states[at] !== "known");
    if (sendsArp && unresolved.length > 0) await neighbours.ask(unresolved, this.#abort.signal);
    return this.#silent;
  }
}

function keyOf({ via, interface: name, index }: NextHop): string {
  return `${via} ${name} ${index}`;
}

function keysOf(hops: readonly NextHop[]): string {
  return hops.map(keyOf).join();
}

function toUndefined(error: unknown): undefined {
  if (!(error instanceof GatewayError) && !(error instanceof Error && error.name === "AbortError"))
    throw error;
  return undefined;
}
