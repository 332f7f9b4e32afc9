/**
 * Watches which next hops do not answer ARP, and whether permanent neighbour entries of other hosts are right. Each pass says
 * which next hops to watch. Between passes the kernel's neighbour table is read every second, which costs one exchange, and a
 * change wakes a pass. For an unresolved next hop the kernel is made to send ARP requests, as for a packet. For a permanent
 * neighbour entry the kernel sends no request, so the agent probes that host. A dry run sends none.
 */
import { stabilize } from "../../lib/memoize.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { ObservedLink } from "../../lib/model/observed.ts";
import type { NeighbourState } from "../../lib/netlink/rtnetlink-neighbours.ts";
import { isSilentNow, type NextHop, type SilentHop } from "../../lib/plan/reach/next-hops.ts";
import type { Neighbours } from "../kernel/drivers.ts";

export interface NextHopWatchDeps {
  readonly neighbours: Neighbours;
  readonly wake: (reason: string) => void;
}

const pollIntervalMs = 1_000;
/** For one request the kernel sends up to three ARP packets, one second apart. */
const pollsPerArpRequest = 5;
/** Each is probed every few seconds. */
const maxPermanent = 16;
const noHops: readonly SilentHop[] = [];

export class NextHopWatch {
  readonly #deps: NextHopWatchDeps;
  readonly #keep = stabilize<readonly SilentHop[]>((one, other) => keysOf(one) === keysOf(other));
  readonly #abort = new AbortController();
  #hops: readonly NextHop[] = noHops;
  #links: readonly ObservedLink[] = [];
  /** Hosts whose MAC somebody entered. */
  #permanent: readonly NextHop[] = noHops;
  #silent = noHops;
  /** The MAC that answers ARP for each permanent neighbour entry. `undefined`: no reply. */
  #answers = new Map<string, string | undefined>();
  readonly #probing = new Set<string>();
  #polls = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: NextHopWatchDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setTimeout(async () => {
      const isDue = this.#polls++ % pollsPerArpRequest === 0;
      const poll = async () => {
        if (isDue) await this.#readPermanent();
        await this.#pollBetweenPasses(isDue, isDue ? "all" : "new");
      };
      await poll().catch(toUndefined);
      if (!this.#abort.signal.aborted) this.start();
    }, pollIntervalMs).unref();
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  /**
   * @param links where hosts whose MAC somebody entered are watched, too
   * @param sendsArp false: only reads, and what is watched stays as it is
   * @returns the ones of `hops` that do not answer, and hosts whose permanent entry has a wrong MAC; the same array as
   * last time if neither it nor `hops` changed
   */
  async observe(
    hops: readonly NextHop[],
    links: readonly ObservedLink[],
    sendsArp: boolean,
  ): Promise<readonly SilentHop[]> {
    if (!sendsArp) return this.#poll(hops, false, "none");
    this.#hops = hops;
    this.#links = links;
    await this.#readPermanent();
    return this.#poll(hops, true, "new");
  }

  /** A failed poll is ignored: the next poll or the pass gets the same error. */
  async #pollBetweenPasses(...how: [sendsArp: boolean, probed: "all" | "new" | "none"]): Promise<void> {
    const before = this.#silent;
    await this.#poll(this.#hops, ...how).catch(toUndefined);
    if (this.#silent !== before) this.#deps.wake("next hop");
  }

  async #readPermanent(): Promise<void> {
    const routers = new Set(this.#hops.map(keyOf));
    const permanent = await this.#deps.neighbours.permanent(this.#links, this.#abort.signal);
    this.#permanent = permanent.filter((hop) => !routers.has(keyOf(hop))).slice(0, maxPermanent);
  }

  /** @param probed which ones with a fixed MAC are probed; `new`: those that never were */
  async #poll(
    given: readonly NextHop[],
    sendsArp: boolean,
    probed: "all" | "new" | "none",
  ): Promise<readonly SilentHop[]> {
    const { neighbours } = this.#deps;
    const hops = [...given, ...this.#permanent];
    const states = await neighbours.states(hops, this.#abort.signal);
    const before = new Set(this.#silent.map(keyOf));
    const answers = new Map<string, string | undefined>();
    const silent = hops.flatMap((hop, at): readonly SilentHop[] => {
      const state = states[at] ?? "unknown";
      const fixedMac = fixedMacOf(state);
      // A host that is no router may be absent: without a fixed MAC it is none of ours.
      if (fixedMac === undefined)
        return at < given.length && isSilentNow(state, before.has(keyOf(hop))) ? [hop] : [];
      const key = `${keyOf(hop)} ${fixedMac}`;
      const isProbed = this.#answers.has(key);
      if (probed === "all" || (probed === "new" && !isProbed)) void this.#probe(hop, key).catch(toUndefined);
      const answeredBy = this.#answers.get(key);
      if (isProbed) answers.set(key, answeredBy);
      return answeredBy === undefined || answeredBy === fixedMac ? [] : [{ ...hop, fixedMac, answeredBy }];
    });
    if (given === this.#hops) {
      this.#answers = answers;
      this.#silent = this.#keep(silent);
    }
    const unresolved = given.filter((_, at) => states[at] === "unknown" || states[at] === "failed");
    if (sendsArp && unresolved.length > 0) await neighbours.ask(unresolved, this.#abort.signal);
    return given === this.#hops ? this.#silent : silent;
  }

  /** In the background: no pass waits for an answer. */
  async #probe(hop: NextHop, key: string): Promise<void> {
    if (this.#probing.has(key)) return;
    this.#probing.add(key);
    try {
      const answeredBy = await this.#deps.neighbours.answerOf(hop, this.#abort.signal);
      this.#answers.set(key, answeredBy);
    } finally {
      this.#probing.delete(key);
    }
    await this.#pollBetweenPasses(false, "none");
  }
}

function fixedMacOf(state: NeighbourState): string | undefined {
  return state.startsWith("fixed ") ? state.slice("fixed ".length) : undefined;
}

function keyOf({ via, interface: name, index }: NextHop): string {
  return `${via} ${name} ${index}`;
}

function keysOf(hops: readonly SilentHop[]): string {
  return hops.map((hop) => `${keyOf(hop)} ${hop.fixedMac} ${hop.answeredBy}`).join();
}

function toUndefined(error: unknown): undefined {
  if (!(error instanceof GatewayError) && !(error instanceof Error && error.name === "AbortError"))
    throw error;
  return undefined;
}
