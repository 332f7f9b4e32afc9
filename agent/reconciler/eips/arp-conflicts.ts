/**
 * Others that claim EIPs which this gateway holds. Such an EIP is kept, since somebody relies on it, but is not called
 * Ready and not announced while the wire is of two minds about it. Hears claims by itself; whether one still stands is asked
 * after 10 s, later less often. A claim stands until nobody answers.
 */
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { AddressOnLink, Announcer } from "../../kernel/drivers.ts";
import type { Log } from "../../log.ts";
import { Backoff } from "../retry/backoff.ts";

export interface ArpConflictsOptions {
  /** Absent: nobody is listened to, and nobody asked. */
  readonly announcer: Pick<Announcer, "probe" | "hear" | "announce"> | undefined;
  /** The EIPs that the gateway held at the last reading. */
  readonly held: () => ReadonlyMap<Ipv4, AddressOnLink>;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Told when a claim came up, changed or went. */
  readonly onChange: () => void;
  readonly log: Log;
}

/** A claim is heard that much later at most. */
const listenEveryMs = 1_000;

export class ArpConflicts {
  readonly #options: ArpConflictsOptions;
  readonly #abort = new AbortController();
  /** The MAC that claims each, and when to ask again. */
  readonly #claims = new Backoff<Ipv4>();
  readonly #asking = new Set<Ipv4>();
  readonly #running = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #conflicts: ReadonlyMap<Ipv4, string> = new Map();

  constructor(options: ArpConflictsOptions) {
    this.#options = options;
  }

  /** The MAC that claims it, by held address. Another map where anything changed. */
  get conflicts(): ReadonlyMap<Ipv4, string> {
    return this.#conflicts;
  }

  start(): void {
    if (this.#options.announcer === undefined) return;
    this.#timer = setInterval(() => this.look(), listenEveryMs).unref();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    clearInterval(this.#timer);
    await Promise.all(this.#running);
  }

  /** Takes note of what was heard, and asks about the claims whose time has come. */
  look(): void {
    const { announcer, held: heldNow, nowMs, log } = this.#options;
    if (announcer === undefined) return;
    const held = heldNow();
    try {
      const links = new Set([...held.values()].map((place) => place.interface));
      for (const [address, mac] of announcer.hear(links)) if (held.has(address)) this.#note(address, mac);
    } catch (err) {
      log.warn({ err }, "nobody can be listened to");
    }
    for (const address of [...this.#claims.keys()]) if (!held.has(address)) this.#claims.clear(address);
    const waiting = this.#claims.waiting(nowMs());
    this.ask(
      [...this.#claims.keys()].filter((one) => !waiting.has(one)).flatMap((one) => held.get(one) ?? []),
    );
    this.#publish();
  }

  /** Asks the wire who else holds these. */
  ask(places: readonly AddressOnLink[]): void {
    const { announcer } = this.#options;
    const unasked = places.filter(({ address }) => !this.#asking.has(address));
    if (announcer === undefined || unasked.length === 0 || this.#abort.signal.aborted) return;
    for (const { address } of unasked) this.#asking.add(address);
    const run = this.#probe(unasked, announcer).finally(() => {
      for (const { address } of unasked) this.#asking.delete(address);
      this.#running.delete(run);
    });
    this.#running.add(run);
  }

  async #probe(
    places: readonly AddressOnLink[],
    announcer: Pick<Announcer, "probe" | "announce">,
  ): Promise<void> {
    const { nowMs, log } = this.#options;
    try {
      const answers = await announcer.probe(places, this.#abort.signal);
      const freed = places.filter(({ address }) => this.#conflicts.has(address) && !answers.has(address));
      for (const [address, mac] of answers) this.#claims.record(address, mac, nowMs());
      for (const { address } of freed) this.#claims.clear(address);
      this.#publish();
      // Some may know the other's MAC for it still.
      announcer.announce(freed);
    } catch (err) {
      if (this.#abort.signal.aborted) return;
      log.warn({ err }, "who else holds EIPs could not be asked");
      for (const { address } of places) {
        const mac = this.#conflicts.get(address);
        if (mac !== undefined) this.#claims.record(address, mac, nowMs());
      }
    }
  }

  /** A claim that stands is nothing new: the time to ask about it stays. */
  #note(address: Ipv4, mac: string): void {
    if (this.#conflicts.get(address) !== mac) this.#claims.record(address, mac, this.#options.nowMs());
  }

  #publish(): void {
    const { onChange, log } = this.#options;
    const before = this.#conflicts;
    const conflicts = new Map(
      [...this.#claims.entries()].map(([address, { message }]) => [address, message]),
    );
    const news = [...conflicts].filter(([address, mac]) => before.get(address) !== mac);
    if (news.length === 0 && conflicts.size === before.size) return;
    this.#conflicts = conflicts;
    const [first] = news;
    if (first !== undefined)
      log.warn({ address: first[0], mac: first[1], addresses: news.length }, "somebody else claims an EIP");
    onChange();
  }
}
