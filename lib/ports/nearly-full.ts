/** The EIPs that have few ports left towards a destination. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import { fullShare, portCapacity } from "./capacity.ts";
import type { Census } from "./census.ts";
import { countedProtocols } from "./flow-state.ts";

/** An EIP with the destination that it has most live ports towards. */
export interface NearlyFullEip {
  /** The Eip's name. */
  readonly eip: string;
  readonly dst: Ip;
  readonly dport: number;
  readonly protocol: string;
  readonly live: number;
  /** Of the capacity. */
  readonly ratio: number;
}

/** Takes a few milliseconds. */
const countedAtOnce = 4_000;

/** Those that use 80 % of the ports or more. The worst first. */
export function* nearlyFullEips(census: Census, family: Family): Chunked<readonly NearlyFullEip[]> {
  const found: NearlyFullEip[] = [];
  const isDue = everyNth(countedAtOnce);
  for (const [key, { name }] of census.counted()) {
    let most: NearlyFullEip | undefined;
    for (const { live, address, port, protocolIndex } of census.destinations.of(key)) {
      if (isDue()) yield;
      if (live < fullShare * portCapacity || live <= (most?.live ?? 0)) continue;
      const protocol = countedProtocols[protocolIndex] ?? "other";
      most = {
        eip: name,
        dst: family.format(address),
        dport: port,
        protocol,
        live,
        ratio: live / portCapacity,
      };
    }
    if (most !== undefined) found.push(most);
  }
  return found.sort((one, other) => other.live - one.live);
}
