/** Who has most of the live ports, over all EIPs. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { AddressKey, AddressValue, Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { Census } from "./census.ts";
import { closingIndex, countedProtocols, flowStates } from "./flow-state.ts";
import { mostOf } from "./most.ts";

export const topSubjects = ["clients", "destinations", "eips"] as const;
export type TopSubject = (typeof topSubjects)[number];

export interface TopItem {
  /** The client's, the destination's or the EIP's address. */
  readonly ip: Ip;
  /** Of a destination. */
  readonly port?: number;
  readonly protocol?: string;
  /** The Eip's name. */
  readonly eip?: string;
  /** Of clients and destinations: live ports of EIPs. Of an EIP: flows that are not closing, in both directions. */
  readonly live: number;
  /** The same for closing ones; 0 for clients, of which they are not counted. */
  readonly closing: number;
}

/** The `limit` largest by live ports, or flows. Counts are lower bounds if the census had to forget some. */
export function* top(
  by: TopSubject,
  limit: number,
  census: Census,
  family: Family,
): Chunked<readonly TopItem[]> {
  const items = by === "clients" ? topClients : by === "destinations" ? topDestinations : topEips;
  return mostOf(yield* items(census, family), limit, ({ live, closing }) => live + closing / 2 ** 20);
}

/** Takes a few milliseconds. */
const countedAtOnce = 4_000;

function* topClients(census: Census, family: Family): Chunked<Iterable<TopItem>> {
  const clients = new Map<AddressKey, { readonly address: AddressValue; ports: number }>();
  const isDue = everyNth(countedAtOnce);
  for (const { clients: ofOne } of census.destinations.all()) {
    for (const [key, { address, ports }] of ofOne) {
      if (isDue()) yield;
      const known = clients.get(key);
      if (known === undefined) clients.set(key, { address, ports });
      else known.ports += ports;
    }
  }
  return clients
    .values()
    .map(({ address, ports }) => ({ ip: family.format(address), live: ports, closing: 0 }));
}

function* topDestinations(census: Census, family: Family): Chunked<Iterable<TopItem>> {
  const destinations = new Map<string, TopItem & { live: number; closing: number }>();
  const isDue = everyNth(countedAtOnce);
  for (const { address, port, protocolIndex, live, closing } of census.destinations.all()) {
    if (isDue()) yield;
    const protocol = countedProtocols[protocolIndex] ?? "other";
    const key = `${family.keyOf(address)} ${port} ${protocol}`;
    const known = destinations.get(key);
    if (known === undefined) {
      destinations.set(key, { ip: family.format(address), port, protocol, live, closing });
    } else {
      known.live += live;
      known.closing += closing;
    }
  }
  return destinations.values();
}

function* topEips(census: Census): Chunked<Iterable<TopItem>> {
  const items: TopItem[] = [];
  const isDue = everyNth(countedAtOnce);
  for (const [, { name, address }, connections] of census.counted()) {
    if (isDue()) yield;
    let [live, closing] = [0, 0];
    connections.forEach((count, index) => {
      if (index % flowStates.length === closingIndex) closing += count;
      else live += count;
    });
    items.push({ ip: address, eip: name, live, closing });
  }
  return items;
}
