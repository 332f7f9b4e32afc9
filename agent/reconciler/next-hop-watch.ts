/**
 * Watches which routers do not answer. Each pass gives the relevant routers. In between, the kernel's neighbour table
 * is read, which costs one exchange, and a change wakes a pass. For unknown routers the kernel is made to send ARP, as
 * for a packet. A dry run sends none.
 */
import { stabilize } from "../../lib/memoize.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { isSilentNow, type NextHop } from "../../lib/plan/reach/next-hops.ts";
import type { Neighbours } from "../kernel/drivers.ts";

export interface NextHopWatchDeps {
  readonly neighbours: Neighbours;
  readonly wake: (reason: string) => void;
}

const lookIntervalMs = 1_000;
/** For a router that did not answer: the kernel asks three times, one second apart. */
const looksPerQuestion = 5;
const noHops: readonly NextHop[] = [];

export class NextHopWatch {
  readonly #deps: NextHopWatchDeps;
  readonly #keep = stabilize<readonly NextHop[]>((one, other) => keysOf(one) === keysOf(other));
  readonly #abort = new AbortController();
  #hops = noHops;
  #silent = noHops;
  #looks = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: NextHopWatchDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setTimeout(async () => {
      const before = this.#silent;
      // A failed look is ignored: the next look or the pass gets the same error.
      const after = await this.#look(this.#looks++ % looksPerQuestion === 0).catch(toUndefined);
      if (after !== undefined && after !== before) this.#deps.wake("next hop");
      if (!this.#abort.signal.aborted) this.start();
    }, lookIntervalMs).unref();
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  /**
   * @param asks false: sends no ARP
   * @returns the ones of `hops` that do not answer; the same array as last time if unchanged
   */
  async observe(hops: readonly NextHop[], asks: boolean): Promise<readonly NextHop[]> {
    this.#hops = hops;
    return this.#look(asks);
  }

  async #look(asks: boolean): Promise<readonly NextHop[]> {
    const { neighbours } = this.#deps;
    const hops = this.#hops;
    const states = await neighbours.states(hops, this.#abort.signal);
    const before = new Set(this.#silent.map(keyOf));
    const silent = hops.filter((hop, at) => isSilentNow(states[at] ?? "unknown", before.has(keyOf(hop))));
    if (hops === this.#hops) this.#silent = this.#keep(silent);
    const unsure = hops.filter((_, at) => states[at] !== "known");
    if (asks && unsure.length > 0) await neighbours.ask(unsure, this.#abort.signal);
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
