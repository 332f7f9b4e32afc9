/**
 * Where limits are enforced: traffic is shaped when it leaves. What leaves by an interface is limited there, what comes
 * in by one is limited where it leaves: on the VPC interface for what comes from outside, on the external interface for
 * what comes from the VPC.
 */
import { type Chunked, everyNth, sortChunked } from "../../chunked.ts";
import { prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { Program, ProgramLimit } from "../../model/program.ts";
import type { QosAddress } from "../../nftables/qos.ts";

/** Takes a few milliseconds. */
const placedAtOnce = 10_000;

export interface PlacedLimit {
  readonly limit: ProgramLimit;
  /** Where the packets leave. */
  readonly out: InterfaceName;
  /** Where they came in. `undefined`: anywhere. */
  readonly in: InterfaceName | undefined;
}

/** The limits by the interface that enforces them, in order of creation. */
export function* placeLimits(program: Program): Chunked<ReadonlyMap<InterfaceName, readonly PlacedLimit[]>> {
  const isDue = everyNth(placedAtOnce);
  const placed = new Map<InterfaceName, PlacedLimit[]>();
  for (const limit of program.limits ?? []) {
    if (isDue()) yield;
    const isEgress = limit.direction === "egress";
    const out = isEgress ? limit.interface : oppositeOf(limit.interface, program);
    const one = { limit, out, in: isEgress ? undefined : limit.interface };
    const others = placed.get(out);
    if (others === undefined) placed.set(out, [one]);
    else others.push(one);
  }
  return placed;
}

/** Where packets that came in by an interface leave. */
export function oppositeOf(
  name: InterfaceName,
  { vpcInterface, externalInterface }: Pick<Program, "vpcInterface" | "externalInterface">,
): InterfaceName {
  return name === vpcInterface ? externalInterface : vpcInterface;
}

/** The address by which packets of a limit are found. `undefined`: all packets. */
export function addressOfLimit({ limit, in: from }: PlacedLimit): QosAddress | undefined {
  const { target, direction } = limit;
  if (target.kind === "all") return undefined;
  const side = target.kind === "network" ? target.side : direction === "egress" ? "source" : "destination";
  return { side, isBeforeNat: from !== undefined };
}

/**
 * Limits of EIPs and networks, those that take a packet first at the end. On a tie an EIP comes before a network, a
 * smaller network before a larger one, and the elder before the younger.
 *
 * @param limits in order of creation
 */
export function* byPrecedence(limits: readonly PlacedLimit[]): Chunked<readonly PlacedLimit[]> {
  const partial = limits.filter(({ limit }) => limit.target.kind !== "all").reverse();
  return yield* sortChunked(
    partial,
    ({ limit: one }, { limit: other }) =>
      priorityOf(other) - priorityOf(one) || lengthOf(one) - lengthOf(other),
  );
}

function priorityOf({ priority }: ProgramLimit): number {
  return priority ?? Number.MAX_SAFE_INTEGER;
}

function lengthOf({ target }: ProgramLimit): number {
  return target.kind === "network" ? prefixLengthOf(target.cidr) : Number.MAX_SAFE_INTEGER;
}
