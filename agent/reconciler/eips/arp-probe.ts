/**
 * Asks the wire about EIPs before they are added, without holding up anything else: an address that is being asked
 * about is left out of the passes meanwhile, and the answer wakes the next one.
 */
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { AddressOnLink, Announcer } from "../../kernel/drivers.ts";
import { Backoff } from "../retry/backoff.ts";

export interface ArpProbeOptions {
  /** Absent: nobody is asked, and every address is free. */
  readonly announcer: Pick<Announcer, "probe"> | undefined;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Told when an answer, or the lack of one, is in. */
  readonly onAnswer: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** What a pass needs to know of the addresses that it would add. */
export interface Prospects {
  /** Being asked about: leave out, an answer is coming. */
  readonly probing: ReadonlySet<Ipv4>;
  /** Held by another: the MAC that answered. */
  readonly addressConflicts: ReadonlyMap<Ipv4, string>;
}

export class ArpProbe {
  readonly #options: ArpProbeOptions;
  readonly #abort = new AbortController();
  readonly #clear = new Set<Ipv4>();
  readonly #asking = new Set<Ipv4>();
  readonly #conflicts = new Backoff<Ipv4>();
  readonly #running = new Set<Promise<void>>();
  #prospects: Prospects = { probing: new Set(), addressConflicts: new Map() };

  constructor(options: ArpProbeOptions) {
    this.#options = options;
  }

  /**
   * Says how things stand with `candidates`, the desired addresses that the kernel does not hold, and asks about
   * those that nobody asked about yet. What is no candidate any more is forgotten.
   */
  review(candidates: readonly AddressOnLink[]): Prospects {
    const { announcer } = this.#options;
    if (announcer === undefined) return this.#prospects;
    const nowMs = this.#options.nowMs();
    const wanted = new Set(candidates.map(({ address }) => address));
    for (const address of this.#clear) if (!wanted.has(address)) this.#clear.delete(address);
    for (const address of [...this.#conflicts.keys()])
      if (!wanted.has(address)) this.#conflicts.clear(address);

    const waiting = this.#conflicts.waiting(nowMs);
    const unknown = candidates.filter(
      ({ address }) => !this.#clear.has(address) && !this.#asking.has(address) && !waiting.has(address),
    );
    if (unknown.length > 0) this.#ask(unknown, announcer);
    this.#prospects = {
      probing: new Set([...this.#asking].filter((address) => wanted.has(address))),
      addressConflicts: new Map([...waiting].map(([address, { message }]) => [address, message])),
    };
    return this.#prospects;
  }

  /** As the last review left them, so that planning again within a pass sees what the pass saw. */
  get prospects(): Prospects {
    return this.#prospects;
  }

  /** Milliseconds until a conflict is asked about again. */
  dueInMs(): number | undefined {
    return this.#conflicts.dueInMs(this.#options.nowMs());
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#running);
  }

  #ask(addresses: readonly AddressOnLink[], announcer: Pick<Announcer, "probe">): void {
    if (this.#abort.signal.aborted) return;
    for (const { address } of addresses) this.#asking.add(address);
    const run = this.#probe(addresses, announcer).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #probe(addresses: readonly AddressOnLink[], announcer: Pick<Announcer, "probe">): Promise<void> {
    const { nowMs, onAnswer, onFailure } = this.#options;
    let answers: ReadonlyMap<Ipv4, string> = new Map();
    try {
      answers = await announcer.probe(addresses, this.#abort.signal);
    } catch (error) {
      // No answer can be had: an EIP that nobody contests is worth more than one that nobody serves.
      onFailure(error);
    }
    for (const { address } of addresses) {
      this.#asking.delete(address);
      const mac = answers.get(address);
      if (mac !== undefined) this.#conflicts.record(address, mac, nowMs());
      else {
        this.#conflicts.clear(address);
        this.#clear.add(address);
      }
    }
    if (!this.#abort.signal.aborted) onAnswer();
  }
}
