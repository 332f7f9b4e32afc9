/**
 * Knows which routers do not answer. Each pass says which routers matter; in between the kernel's neighbour table is looked at,
 * which costs one exchange, and a pass is woken where something changed. Whoever is not known is asked for as a packet would do
 * it: by the kernel, and with nothing but ARP.
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
/** Of one that did not answer: the kernel asks three times, a second apart. */
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
      // A failed look tells nothing: the next one, or the pass, meets it again.
      const after = await this.#look(this.#looks++ % looksPerQuestion === 0).catch(toUndefined);
      if (after !== undefined && after !== before) this.#deps.wake("next hop");
      if (!this.#abort.signal.aborted) this.start();
    }, lookIntervalMs).unref();
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  /** @returns those of `hops` that do not answer; the very value of the last time where it is the same */
  async observe(hops: readonly NextHop[]): Promise<readonly NextHop[]> {
    this.#hops = hops;
    return this.#look(true);
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
