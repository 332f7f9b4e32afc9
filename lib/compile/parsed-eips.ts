/**
 * The Eips of a set with their addresses taken apart. Passes over an unchanged collection, which is what most are,
 * find it done: a collection is immutable, so what was parsed of it stays true for as long as it lives.
 */

import { addressOf, type Ipv4, prefixLengthOf, reservedRoleOf } from "../model/ipv4.ts";
import { type ObjectId, objectId } from "../model/names.ts";
import type { Eip } from "../model/schema.ts";
import type { DesiredObjects } from "../state/desired.ts";

export interface ParsedEip {
  readonly id: ObjectId;
  readonly spec: Eip;
  readonly address: Ipv4;
  readonly prefixLength: number;
  /** What the address is in its own subnet where no host may hold it. */
  readonly reserved: "network" | "broadcast" | undefined;
}

const parsed = new WeakMap<DesiredObjects["eips"], readonly ParsedEip[]>();

/** The Eips in order of creation. */
export function parsedEips(eips: DesiredObjects["eips"]): readonly ParsedEip[] {
  const known = parsed.get(eips);
  if (known !== undefined) return known;
  const fresh = Array.from(eips.values(), ({ spec }) => parse(spec));
  parsed.set(eips, fresh);
  return fresh;
}

function parse(spec: Eip): ParsedEip {
  return {
    id: objectId("eip", spec.name),
    spec,
    address: addressOf(spec.address),
    prefixLength: prefixLengthOf(spec.address),
    reserved: reservedRoleOf(spec.address),
  };
}
