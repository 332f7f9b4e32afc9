/** Traffic counters per object. */
import type { ObjectId } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import type { Counter } from "../../nftables/decode-elements.ts";
import type { ByMap } from "../../nftables/maps.ts";
import { wantedTable } from "./layout.ts";

/** The counter of each element, by map and key. */
export type ElementCounters = ByMap<ReadonlyMap<string, Readonly<Counter>>>;

/**
 * By object of `program`: its new flows and the bytes of their first packets, because later packets pass no NAT rule.
 * Counters start at 0 again when the element or the table is recreated.
 */
export function countersByObject(
  program: Program,
  counted: ElementCounters,
): ReadonlyMap<ObjectId, Readonly<Counter>> {
  const counters = new Map<ObjectId, Counter>();
  wantedTable(program).visit((map, key, _value, object) => {
    const { packets = 0, bytes = 0 } = counted[map].get(key) ?? {};
    const sum = counters.get(object) ?? { packets: 0, bytes: 0 };
    counters.set(object, { packets: sum.packets + packets, bytes: sum.bytes + bytes });
  });
  return counters;
}
