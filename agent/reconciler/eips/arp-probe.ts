/**
 * Asks the wire about EIPs before they are added, without holding up anything else: an address that is being asked about is left
 * out of the passes meanwhile, and the answer wakes the next one. An address that another holds is asked about until it is free.
 */

import type { Mac } from "../../../lib/arp/packet.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { AddressOnLink, Announcer, HeardArp } from "../../kernel/drivers.ts";
import type { ArpQuestion, ArpQuestions } from "./arp-questions.ts";

export interface ArpProbeOptions {
  /** Absent: nobody is asked, and every address is free. */
  readonly announcer: Pick<Announcer, "probe"> | undefined;
  readonly questions: Pick<ArpQuestions, "ask" | "askAgain" | "hurry" | "forget">;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Told when an address turned out to be free, or held by another. */
  readonly onAnswer: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** What a pass needs to know of the addresses that it would add. */
export interface Prospects {
  /** Being asked about: leave out, an answer is coming. */
  readonly probing: ReadonlySet<Ip>;
  /** Held by another: the MAC that answered. */
  readonly addressConflicts: ReadonlyMap<Ip, Mac>;
}

interface Contested {
  readonly question: ArpQuestion;
  holder: Mac;
}

/** An address that is not added that long after nobody answered for it is asked about again. */
const freeForMs = 60_000;

export class ArpProbe {
  readonly #options: ArpProbeOptions;
  readonly #abort = new AbortController();
  /** When nobody answered. */
  readonly #free = new Map<Ip, number>();
  readonly #asking = new Set<Ip>();
  readonly #contested = new Map<Ip, Contested>();
  readonly #running = new Set<Promise<void>>();
  #prospects: Prospects = { probing: new Set(), addressConflicts: new Map() };

  constructor(options: ArpProbeOptions) {
    this.#options = options;
  }

  /**
   * Says how things stand with `candidates`, the desired addresses that the kernel does not hold, and asks about those that
   * nobody asked about yet. What is no candidate any more is forgotten.
   */
  review(candidates: readonly AddressOnLink[]): Prospects {
    const { announcer, nowMs } = this.#options;
    if (announcer === undefined) return this.#prospects;
    const wanted = new Map(candidates.map((place) => [place.address, place]));
    for (const [address, sinceMs] of this.#free)
      if (!wanted.has(address) || nowMs() - sinceMs > freeForMs) this.#free.delete(address);
    for (const [address, { question }] of this.#contested)
      if (wanted.get(address)?.interface !== question.place.interface) this.#settle(address);

    const isKnown = ({ address }: AddressOnLink) =>
      this.#free.has(address) || this.#asking.has(address) || this.#contested.has(address);
    const unknown = candidates.filter((place) => !isKnown(place));
    if (unknown.length > 0) this.#ask(unknown, announcer);
    this.#prospects = {
      probing: new Set([...this.#asking].filter((address) => wanted.has(address))),
      addressConflicts: new Map(Array.from(this.#contested, ([address, { holder }]) => [address, holder])),
    };
    return this.#prospects;
  }

  /** As the last review left them, so that planning again within a pass sees what the pass saw. */
  get prospects(): Prospects {
    return this.#prospects;
  }

  /** True where nobody answered for it, and it was not added before the last review. */
  isFree(address: Ip): boolean {
    return this.#free.has(address);
  }

  /** True while another station holds an address that is to be added. */
  get isContested(): boolean {
    return this.#contested.size > 0;
  }

  /** The links on which it helps to listen. */
  get links(): ReadonlySet<InterfaceName> {
    return new Set(Array.from(this.#contested.values(), ({ question }) => question.place.interface));
  }

  /**
   * Somebody who may do so asks for these addresses: those that another held are asked about at once.
   *
   * @param addresses all of them where absent
   * @returns true where one of them is free now
   */
  async hurry(addresses?: ReadonlySet<Ip>): Promise<boolean> {
    const contested = [...this.#contested].filter(([address]) => addresses?.has(address) ?? true);
    await this.#options.questions.hurry(contested.map(([, { question }]) => question));
    return contested.some(([address]) => this.#free.has(address));
  }

  /**
   * Asks again about an address when its holder asks others for it, which nobody does for an address of his own, or when somebody
   * else claims it. Who only probes for it waits as this gateway does.
   */
  hear(heard: readonly HeardArp[]): void {
    if (this.#contested.size === 0) return;
    for (const { interface: link, packet } of heard) {
      const { operation, senderIp, senderMac, targetIp } = packet;
      const claimed = this.#contested.get(senderIp);
      const sought = operation === "request" ? this.#contested.get(targetIp) : undefined;
      if (claimed !== undefined && claimed.holder !== senderMac) this.#askSoon(claimed, link);
      if (sought?.holder === senderMac && senderIp !== targetIp) this.#askSoon(sought, link);
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#running);
  }

  #askSoon({ question }: Contested, link: InterfaceName): void {
    if (question.place.interface === link) this.#options.questions.ask(question, "wanted");
  }

  #ask(places: readonly AddressOnLink[], announcer: Pick<Announcer, "probe">): void {
    if (this.#abort.signal.aborted) return;
    for (const { address } of places) this.#asking.add(address);
    const run = this.#probe(places, announcer).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #probe(places: readonly AddressOnLink[], announcer: Pick<Announcer, "probe">): Promise<void> {
    const { nowMs, onAnswer, onFailure } = this.#options;
    let others: ReadonlyMap<Ip, Mac> = new Map();
    try {
      ({ others } = await announcer.probe(places, "take", this.#abort.signal));
    } catch (error) {
      // No answer can be had: an EIP that nobody contests is worth more than one that nobody serves.
      onFailure(error);
    }
    if (this.#abort.signal.aborted) return;
    for (const place of places) {
      this.#asking.delete(place.address);
      const mac = others.get(place.address);
      if (mac === undefined) this.#free.set(place.address, nowMs());
      else this.#contest(place, mac);
    }
    onAnswer();
  }

  #contest(place: AddressOnLink, holder: Mac): void {
    const { questions, nowMs, onAnswer } = this.#options;
    const { address } = place;
    const contested: Contested = {
      holder,
      question: {
        place,
        purpose: "take",
        onAnswer: (mac) => {
          // Another holder is nothing that a pass has to hurry for.
          if (mac !== undefined) {
            contested.holder = mac;
            return;
          }
          this.#settle(address);
          this.#free.set(address, nowMs());
          onAnswer();
        },
      },
    };
    this.#contested.set(address, contested);
    questions.askAgain(contested.question, "wanted");
  }

  #settle(address: Ip): void {
    const contested = this.#contested.get(address);
    this.#contested.delete(address);
    if (contested !== undefined) this.#options.questions.forget(contested.question);
  }
}
