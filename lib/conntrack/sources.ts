/**
 * The source half: what FIPs, SNAT pools and hairpin make of a new flow's source.
 *
 * **Why every member of every covering pool is permitted, not only the client's bucket of the longest prefix.** For new
 * flows the rules see to it that a client leaves by one EIP (RFC 4787, REQ-2). But an entry that runs belongs to the
 * SNAT object that made it. Let a pool gain a member, and half of its clients change buckets; let a longer CIDR or a FIP
 * appear, and a client is preferred elsewhere. In each case the older object is unchanged and still translates this
 * client to this EIP, so its flows live on and fade out by themselves; ending them would break every second connection
 * of a subnet for the sake of an address that new flows no longer get.
 *
 * A Standby SNAT (a /32's younger ones) has no rule and no place in the program, so it permits nothing: flows that it
 * made while it was the elder go, and come back by the one EIP that is in force.
 */
import { rangeOf, toU32 } from "../model/ipv4.ts";
import type { Program, SnatPool } from "../model/program.ts";
import { type Device, notUnicast, type Routing, unrouted } from "./device.ts";
import type { FlowView } from "./flow.ts";
import { addressKey, PrefixTable } from "./prefix-table.ts";
import type { Verdict } from "./verdict.ts";

/** The members of one CIDR, and the pool of the next shorter CIDR around it. */
interface Pool {
  readonly eips: ReadonlySet<number>;
  readonly around: Pool | undefined;
}

/** Compiles the sources that a program permits, with routes to tell the device that `-o` in a rule speaks of. */
export function compileSources(program: Program, routing: Routing): (flow: Readonly<FlowView>) => Verdict {
  const vpc = routing.deviceOf(program.vpcInterface);
  const eips = new Set(program.eips.map(({ address }) => addressKey(toU32(address))));
  const fips = compileFips(program);
  const pools = compilePools(program, routing);

  return (flow) => {
    const out = routing.towards(flow.replySource);
    // Delivered here or to many: POSTROUTING's rules are about single hosts beyond a device.
    if (out === notUnicast) return "unruled";
    const client = addressKey(flow.originalSource);
    const seenAs = addressKey(flow.replyDestination);
    let isCovered = false;

    const fip = fips.get(client);
    if (fip !== undefined) {
      if (fip.eips.has(seenAs)) return "permitted";
      isCovered = fip.isOutward;
    }
    for (const { device, table } of pools) {
      // Where the route is unknown a translation gets the benefit of the doubt, and a plain flow is left plain.
      if (device !== out && out !== unrouted) continue;
      const pool = table.longest(client);
      if (holds(pool, seenAs)) return "permitted";
      if (pool !== undefined && out !== unrouted) isCovered = true;
    }
    // HAIRPIN_SNAT: in by the VPC, for an EIP, out by the VPC again; so the destination was translated, EIPs being local.
    if (eips.has(addressKey(flow.originalDestination))) {
      const back = routing.towards(flow.originalSource);
      const isHairpin = out === vpc && back === vpc;
      const mayBeHairpin = isMaybe(out, vpc) && isMaybe(back, vpc);
      if (mayBeHairpin && flow.replyDestination === flow.originalDestination) return "permitted";
      if (isHairpin) isCovered = true;
    }
    return isCovered ? "contradicted" : "unruled";
  };
}

interface FipsOfPod {
  /** All of them: each works inwards, and a flow that one of them made while it was the elder is still its own. */
  readonly eips: Set<number>;
  isOutward: boolean;
}

function compileFips(program: Program): ReadonlyMap<number, FipsOfPod> {
  const pods = new Map<number, FipsOfPod>();
  for (const { eip, internalIp, isOutward } of program.fips) {
    const key = addressKey(toU32(internalIp));
    const pod = pods.get(key) ?? { eips: new Set<number>(), isOutward: false };
    pod.eips.add(addressKey(toU32(eip)));
    pod.isOutward ||= isOutward;
    pods.set(key, pod);
  }
  return pods;
}

interface DevicePools {
  readonly device: Device;
  readonly table: PrefixTable<Pool>;
}

/** One table for each interface that clients leave by. */
function compilePools(program: Program, routing: Routing): readonly DevicePools[] {
  const byDevice = new Map<Device, DevicePools>();
  // Longest first in the program; shortest first here, so that each finds the one around it.
  for (const pool of program.pools.toReversed()) {
    const device = routing.deviceOf(pool.interface);
    const pools = byDevice.get(device) ?? { device, table: new PrefixTable<Pool>() };
    byDevice.set(device, pools);
    pools.table.set(pool.cidr, { eips: membersOf(pool), around: pools.table.longest(rangeOf(pool.cidr)[0]) });
  }
  return [...byDevice.values()];
}

function holds(pool: Pool | undefined, eip: number): boolean {
  for (let at = pool; at !== undefined; at = at.around) if (at.eips.has(eip)) return true;
  return false;
}

function isMaybe(device: Device, wanted: Device): boolean {
  return device === wanted || device === unrouted;
}

function membersOf(pool: SnatPool): ReadonlySet<number> {
  return new Set(pool.members.map(({ eip }) => addressKey(toU32(eip))));
}
