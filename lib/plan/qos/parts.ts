/** The parts of what the kernel should hold for limits, as each interface contributes them. */
import type { ObjectId } from "../../model/names.ts";
import type { QosRule } from "../../nftables/qos.ts";
import type { HtbClass } from "../../tc/htb-class.ts";

export interface WantedClass {
  readonly class: HtbClass;
  /** The size of its queue in bytes. `undefined`: it has children instead. */
  readonly queueBytes: number | undefined;
  /** The limit that it is for. `undefined`: several. */
  readonly object: ObjectId | undefined;
}

export interface WantedElement {
  readonly value: string;
  readonly object: ObjectId;
}

/** Rules of one device, and the maps and sets that they look up. Names are given later. */
export interface WantedRules {
  readonly rules: readonly (Omit<QosRule, "match"> & { readonly match: QosRule["match"] | WantedLookup })[];
}

export interface WantedLookup {
  readonly kind: "map" | "set";
  readonly elements: ReadonlyMap<string, WantedElement>;
}
