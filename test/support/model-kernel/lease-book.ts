/** When the lease of each Eip was last renewed, counted from the writes alone and not from the agent's store. */
import { type ObjectId, objectId } from "../../../lib/model/names.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { Write } from "./script.ts";

export class LeaseBook {
  readonly #renewedMs = new Map<string, number>();

  /** A write was accepted. Every write that contains an Eip renews its lease. */
  note(write: Write, nowMs: number): void {
    for (const name of eipsOf(write)) this.#renewedMs.set(name, nowMs);
  }

  /** The Eips whose lease has expired. */
  expired({ eips }: Desired, nowMs: number): ReadonlySet<ObjectId> {
    const expired = new Set<ObjectId>();
    for (const [name, { spec }] of eips) {
      const { leaseSeconds } = spec;
      if (leaseSeconds === undefined) continue;
      if (nowMs - (this.#renewedMs.get(name) ?? 0) >= leaseSeconds * 1000) expired.add(objectId("eip", name));
    }
    return expired;
  }
}

function eipsOf(write: Write): readonly string[] {
  switch (write.do) {
    case "put":
      return write.kind === "eip" ? [write.spec.name] : [];
    case "batch":
      return write.put.flatMap(({ kind, spec }) => (kind === "eip" ? [spec.name] : []));
    case "set":
      return write.objects.flatMap(({ kind, spec }) => (kind === "eip" ? [spec.name] : []));
    case "renew leases":
      return write.names;
    case "remove":
      return [];
  }
}
