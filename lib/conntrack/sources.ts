/**
 * The source half: how FIPs, SNAT pools and hairpin rules translate the source of a new flow.
 *
 * **Why every member of every covering pool is permitted, and not only the client's bucket in the longest prefix.** For
 * new flows the rules give each client one EIP (RFC 4787, REQ-2). But a running flow belongs to the SNAT object that
 * created it. When a pool gains a member, half of its clients change buckets. When a longer CIDR or a FIP appears, a
 * client gets another EIP for new flows. In each case the older object is unchanged and still translates this client to
 * this EIP, so its flows stay until they end by themselves. Ending them would break every second connection of a subnet
 * only because new flows get another address.
 *
 * A Standby SNAT (older SNATs serve all clients of its CIDR) has no rule and is not in the program, so it permits
 * nothing. Flows that it created while it was in use are ended, and reconnect through the EIP that is in force.
 */
import { type Chunked, everyNth } from "../chunked.ts";
import type { AddressKey, Family } from "../model/family.ts";
import type { Program, SnatPool } from "../model/program.ts";
import { type Device, notUnicast, type Routing, unrouted } from "./device.ts";
import type { FlowView } from "./flow.ts";
import { PrefixTable } from "./prefix-table.ts";
import type { FlowVerdict } from "./verdict.ts";

/** The members of one CIDR, and the pool of the next shorter CIDR that contains it. */
interface Pool {
  readonly eips: ReadonlySet<AddressKey>;
  readonly around: Pool | undefined;
}

/** Compiles the permitted sources of a program. Uses routes to find the device that `-o` in a rule refers to. */
export function* compileSources(
  program: Program,
  routing: Routing,
): Chunked<(flow: Readonly<FlowView>) => FlowVerdict> {
  const { keyOf, toValue } = program.family;
  const vpc = routing.deviceOf(program.vpcInterface);
  /** True for those that are held: only they have a hairpin rule. */
  const eips = new Map<AddressKey, boolean>();
  const isDue = everyNth(notedAtOnce);
  for (const [held, isHeld] of [
    [program.eips, true],
    [program.unboundEips ?? [], false],
  ] as const) {
    for (const { address } of held) {
      if (isDue()) yield;
      eips.set(keyOf(toValue(address)), isHeld);
    }
  }
  const fips = yield* compileFips(program);
  const pools = yield* compilePools(program, routing);

  return (flow) => {
    const out = routing.towards(flow.replySource);
    // Delivered locally or to many hosts: the POSTROUTING rules cover only single hosts beyond a device.
    if (out === notUnicast) return "unruled";
    const client = keyOf(flow.originalSource);
    const seenAs = keyOf(flow.replyDestination);
    let isCovered = false;

    const fip = fips.get(client);
    if (fip !== undefined) {
      if (fip.eips.has(seenAs)) return "permitted";
      isCovered = fip.isOutward;
    }
    for (const { device, table } of pools) {
      // If the route is unknown, keep translated flows, and keep untranslated flows too.
      if (device !== out && out !== unrouted) continue;
      const pool = table.longest(flow.originalSource);
      if (holds(pool, seenAs)) return "permitted";
      if (pool !== undefined && out !== unrouted) isCovered = true;
    }
    // HAIRPIN_SNAT: from the VPC to an EIP and out to the VPC again, so its destination was translated. What the rule of an EIP
    // translated while it was held stays; new flows have no rule.
    const isHeld = eips.get(keyOf(flow.originalDestination));
    if (isHeld !== undefined) {
      const back = routing.towards(flow.originalSource);
      const isHairpin = out === vpc && back === vpc;
      const mayBeHairpin = isMaybe(out, vpc) && isMaybe(back, vpc);
      if (mayBeHairpin && flow.replyDestination === flow.originalDestination) return "permitted";
      if (isHairpin && isHeld) isCovered = true;
    }
    return isCovered ? "contradicted" : "unruled";
  };
}

interface FipsOfPod {
  /**
   * The EIPs of all FIPs of one internal IP: each works for incoming flows, and flows that one created outwards while
   * it was the oldest stay valid.
   */
  readonly eips: Set<AddressKey>;
  isOutward: boolean;
}

/** Takes a few milliseconds. */
const notedAtOnce = 4_000;

function* compileFips(program: Program): Chunked<ReadonlyMap<AddressKey, FipsOfPod>> {
  const { keyOf, toValue } = program.family;
  const pods = new Map<AddressKey, FipsOfPod>();
  const isDue = everyNth(notedAtOnce);
  for (const { eip, internalIp, isOutward } of program.fips) {
    if (isDue()) yield;
    const key = keyOf(toValue(internalIp));
    const pod = pods.get(key) ?? { eips: new Set<AddressKey>(), isOutward: false };
    pod.eips.add(keyOf(toValue(eip)));
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
function* compilePools(program: Program, routing: Routing): Chunked<readonly DevicePools[]> {
  const { family } = program;
  const byDevice = new Map<Device, DevicePools>();
  // The program has the longest prefix first. Build from the shortest, so that each pool finds the one that contains
  // it.
  const isDue = everyNth(notedAtOnce);
  for (const pool of program.pools.toReversed()) {
    if (isDue()) yield;
    const device = routing.deviceOf(pool.interface);
    const pools = byDevice.get(device) ?? { device, table: new PrefixTable<Pool>(family) };
    byDevice.set(device, pools);
    const around = pools.table.longest(family.rangeOf(pool.cidr)[0]);
    pools.table.set(pool.cidr, { eips: membersOf(pool, family), around });
  }
  return [...byDevice.values()];
}

function holds(pool: Pool | undefined, eip: AddressKey): boolean {
  for (let at = pool; at !== undefined; at = at.around) if (at.eips.has(eip)) return true;
  return false;
}

function isMaybe(device: Device, wanted: Device): boolean {
  return device === wanted || device === unrouted;
}

function membersOf(pool: SnatPool, { keyOf, toValue }: Family): ReadonlySet<AddressKey> {
  return new Set(pool.members.map(({ eip }) => keyOf(toValue(eip))));
}
