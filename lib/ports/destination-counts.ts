/**
 * Counts the ports of EIPs by destination and, within a destination, by client. Memory is bounded, however many there
 * are: *lossy counting* (Manku and Motwani, VLDB 2002). When a table is full, the entries with the lowest counts are
 * forgotten. Each count is then too low by at most the level that the table says; no count is too high.
 */
import type { AddressKey, AddressValue } from "../model/family.ts";

export interface DestinationCount {
  readonly protocolIndex: number;
  readonly address: AddressValue;
  readonly port: number;
  live: number;
  closing: number;
  /** What may have been counted and forgotten before this entry was made. */
  readonly missed: number;
  /** Live ports by client. */
  readonly clients: Map<AddressKey, ClientCount>;
}

export interface ClientCount {
  readonly address: AddressValue;
  ports: number;
  readonly missed: number;
}

export interface DestinationLimits {
  readonly destinations: number;
  /** Pairs of destination and client. */
  readonly clients: number;
}

export const destinationLimits: DestinationLimits = { destinations: 16_384, clients: 32_768 };

/** By destination address, then by port and protocol. */
type OfEip = Map<AddressKey, Map<number, DestinationCount>>;

export class DestinationCounts {
  readonly #limits: DestinationLimits;
  readonly #keyOf: (value: AddressValue) => AddressKey;
  readonly #eips = new Map<AddressKey, OfEip>();
  #destinations = 0;
  #clients = 0;
  #level = 0;
  #clientLevel = 0;

  constructor(keyOf: (value: AddressValue) => AddressKey, limits: DestinationLimits = destinationLimits) {
    this.#keyOf = keyOf;
    this.#limits = limits;
  }

  /** The count of a destination is too low by at most this. 0: nothing was forgotten. */
  get level(): number {
    return this.#level;
  }

  /** The same for the counts of clients. */
  get clientLevel(): number {
    return this.#clientLevel;
  }

  /** The destinations and clients that are remembered. */
  get size(): { readonly destinations: number; readonly clients: number } {
    return { destinations: this.#destinations, clients: this.#clients };
  }

  add(
    eip: AddressKey,
    protocolIndex: number,
    address: AddressValue,
    port: number,
    client: AddressValue,
    isClosing: boolean,
  ): void {
    const count =
      this.#find(eip, protocolIndex, address, port) ?? this.#make(eip, protocolIndex, address, port);
    if (isClosing) {
      count.closing++;
      return;
    }
    count.live++;
    const key = this.#keyOf(client);
    const known = count.clients.get(key);
    if (known !== undefined) {
      known.ports++;
      return;
    }
    count.clients.set(key, { address: client, ports: 1, missed: this.#clientLevel });
    if (++this.#clients > this.#limits.clients) this.#forgetClients();
  }

  /** `undefined` if there are no ports towards it, or if it was forgotten. */
  find(
    eip: AddressKey,
    protocolIndex: number,
    address: AddressValue,
    port: number,
  ): Readonly<DestinationCount> | undefined {
    return this.#find(eip, protocolIndex, address, port);
  }

  /** The destinations of an EIP. */
  *of(eip: AddressKey): Generator<Readonly<DestinationCount>> {
    for (const ports of this.#eips.get(eip)?.values() ?? []) yield* ports.values();
  }

  /** The destinations of all EIPs. */
  *all(): Generator<Readonly<DestinationCount>> {
    for (const eip of this.#eips.keys()) yield* this.of(eip);
  }

  /** Frees the counts of clients; those of destinations stay, to be compared with a later scan. */
  dropClients(): void {
    for (const { clients } of this.all()) clients.clear();
    this.#clients = 0;
  }

  #find(eip: AddressKey, protocolIndex: number, address: AddressValue, port: number) {
    return this.#eips.get(eip)?.get(this.#keyOf(address))?.get(portKey(protocolIndex, port));
  }

  #make(eip: AddressKey, protocolIndex: number, address: AddressValue, port: number): DestinationCount {
    if (this.#destinations >= this.#limits.destinations) this.#forgetDestinations();
    const made: DestinationCount = {
      protocolIndex,
      address,
      port,
      live: 0,
      closing: 0,
      missed: this.#level,
      clients: new Map(),
    };
    const ofEip: OfEip = getOrMake(this.#eips, eip);
    getOrMake(ofEip, this.#keyOf(address)).set(portKey(protocolIndex, port), made);
    this.#destinations++;
    return made;
  }

  /** Forgets at least half of the destinations: those with the lowest possible counts. */
  #forgetDestinations(): void {
    this.#level = medianOf(this.all(), mostOf, this.#destinations);
    for (const [eip, addresses] of this.#eips) {
      for (const [address, ports] of addresses) {
        for (const [key, count] of ports) {
          if (mostOf(count) > this.#level) continue;
          ports.delete(key);
          this.#destinations--;
          this.#clients -= count.clients.size;
        }
        if (ports.size === 0) addresses.delete(address);
      }
      if (addresses.size === 0) this.#eips.delete(eip);
    }
  }

  #forgetClients(): void {
    this.#clientLevel = medianOf(this.#allClients(), ({ ports, missed }) => ports + missed, this.#clients);
    for (const { clients } of this.all()) {
      for (const [key, { ports, missed }] of clients) {
        if (ports + missed > this.#clientLevel) continue;
        clients.delete(key);
        this.#clients--;
      }
    }
  }

  *#allClients(): Generator<ClientCount> {
    for (const { clients } of this.all()) yield* clients.values();
  }
}

function mostOf({ live, closing, missed }: Readonly<DestinationCount>): number {
  return live + closing + missed;
}

function portKey(protocolIndex: number, port: number): number {
  return (protocolIndex << 16) | port;
}

function getOrMake<K, V>(map: Map<AddressKey, Map<K, V>>, key: AddressKey): Map<K, V> {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = new Map<K, V>();
  map.set(key, made);
  return made;
}

/** The lower median, so that at least half of the items are not above it. */
function medianOf<T>(items: Iterable<T>, amountOf: (item: T) => number, count: number): number {
  const values = new Float64Array(count);
  let at = 0;
  for (const item of items) values[at++] = amountOf(item);
  return values.sort()[(count - 1) >> 1] ?? 0;
}
