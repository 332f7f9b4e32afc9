/** What a census says about the ports of EIPs, for people. */
import type { AddressKey, Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import { forecast, portCapacity } from "./capacity.ts";
import type { Census } from "./census.ts";
import type { ClientCount, DestinationCount } from "./destination-counts.ts";
import { countedProtocols } from "./flow-state.ts";
import { mostOf } from "./most.ts";

export interface PortReport {
  /** Ports of the EIP towards one destination. */
  readonly capacity: number;
  /** The worst 20, by live ports. */
  readonly destinations: readonly DestinationReport[];
  /** Ports left towards the worst destination. */
  readonly headroom: number;
  /** There are this many more ports in use at most towards each destination: the table had too many to count all. */
  readonly uncounted: number;
}

export interface DestinationReport {
  readonly dst: Ip;
  readonly dport: number;
  readonly protocol: string;
  readonly live: number;
  readonly closing: number;
  readonly ratio: number;
  /** Numbers that are not known (yet) are null. */
  readonly newPerSecond: number | null;
  readonly topClients: readonly TopClient[];
  readonly secondsTo80: number | null;
  readonly secondsToFull: number | null;
  readonly additionalEipsNeeded: number;
}

export interface TopClient {
  readonly ip: Ip;
  readonly ports: number;
  /** Of the live ports towards this destination. */
  readonly share: number;
}

const maxDestinations = 20;
const maxClients = 5;

/** @param before the previous census, `undefined` if there is none */
export function portReport(
  eip: AddressKey,
  census: Census,
  before: Census | undefined,
  family: Family,
): PortReport {
  const seconds = before === undefined ? 0 : (census.atMs - before.atMs) / 1000;
  const worst = mostOf(census.destinations.of(eip), maxDestinations, amountOfUse);
  const destinations = worst.map((count): DestinationReport => {
    const { live, closing, protocolIndex, address, port } = count;
    const earlier = before && usedBefore(before, eip, count);
    const { ratio, newPerSecond, secondsTo80, secondsToFull, additionalEipsNeeded } = forecast(
      count,
      earlier,
      seconds,
    );
    return {
      dst: family.format(address),
      dport: port,
      protocol: countedProtocols[protocolIndex] ?? "other",
      live,
      closing,
      ratio: rounded(ratio, 4),
      newPerSecond: newPerSecond === undefined ? null : rounded(newPerSecond, 1),
      topClients: topClients(count, family),
      secondsTo80: secondsTo80 === undefined ? null : Math.ceil(secondsTo80),
      secondsToFull: secondsToFull === undefined ? null : Math.ceil(secondsToFull),
      additionalEipsNeeded,
    };
  });
  return {
    capacity: portCapacity,
    destinations,
    headroom: Math.max(0, portCapacity - (worst[0]?.live ?? 0)),
    uncounted: census.destinations.level,
  };
}

/** A destination that the earlier census did not have had no ports, or as few as it could forget. */
function usedBefore(before: Census, eip: AddressKey, { protocolIndex, address, port }: DestinationCount) {
  return before.destinations.find(eip, protocolIndex, address, port) ?? { live: 0, closing: 0 };
}

function topClients({ clients, live }: Readonly<DestinationCount>, family: Family): readonly TopClient[] {
  return mostOf(clients.values(), maxClients, ({ ports }: ClientCount) => ports).map(
    ({ address, ports }) => ({
      ip: family.format(address),
      ports,
      share: rounded(ports / Math.max(1, live), 4),
    }),
  );
}

/** Live ports; of equal ones, closing ports. */
function amountOfUse({ live, closing }: Readonly<DestinationCount>): number {
  return live + closing / 2 ** 20;
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
