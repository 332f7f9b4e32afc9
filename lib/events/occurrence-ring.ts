/** The last occurrences. Each type has its own limit, so that many passes do not push out the one that was degraded. */
import type { Occurrence, OccurrenceType } from "./event-types.ts";

export interface OccurrenceLimits {
  /** Of each type. */
  readonly count: number;
  /** Of all together. */
  readonly bytes: number;
}

export type KeptOccurrence = Occurrence & { readonly sequence: number };

/** What a reference to an object takes. */
const bytesPerObject = 64;

export class OccurrenceRing {
  readonly #limits: OccurrenceLimits;
  readonly #start: number;
  readonly #floors = new Map<OccurrenceType, number>();
  readonly #counts = new Map<OccurrenceType, number>();
  /** In the order of their sequences. */
  readonly #kept: KeptOccurrence[] = [];
  #bytes = 0;

  /** @param start occurrences up to this sequence are not known */
  constructor(start: number, limits: OccurrenceLimits) {
    this.#start = start;
    this.#limits = limits;
  }

  /** Occurrences of the type after this sequence are in the ring, all of them. */
  floor(type: OccurrenceType): number {
    return this.#floors.get(type) ?? this.#start;
  }

  /** @param sequence above that of every occurrence before */
  add(occurrence: Occurrence, sequence: number): void {
    const { type } = occurrence;
    this.#kept.push({ ...occurrence, sequence });
    this.#counts.set(type, (this.#counts.get(type) ?? 0) + 1);
    this.#bytes += bytesOf(occurrence);
    if ((this.#counts.get(type) ?? 0) > this.#limits.count)
      this.#drop(this.#kept.findIndex((kept) => kept.type === type));
    while (this.#bytes > this.#limits.bytes && this.#kept.length > 1) this.#drop(0);
  }

  /** The place of the first one after `sequence`: for {@link at}. Places are good until the next {@link add}. */
  placeAfter(sequence: number): number {
    const place = this.#kept.findLastIndex((kept) => kept.sequence <= sequence);
    return place + 1;
  }

  at(place: number): KeptOccurrence | undefined {
    return this.#kept[place];
  }

  #drop(place: number): void {
    const [dropped] = this.#kept.splice(place, 1);
    if (dropped === undefined) return;
    this.#bytes -= bytesOf(dropped);
    this.#counts.set(dropped.type, (this.#counts.get(dropped.type) ?? 1) - 1);
    this.#floors.set(dropped.type, dropped.sequence);
  }
}

function bytesOf({ about, data }: Occurrence): number {
  return data.length + (about === "many" ? 0 : about.size * bytesPerObject);
}
