/** What other programs do to the table of nftables, where they would touch rules of iptables. */
import { type MapName, mapNames } from "../../../lib/nftables/maps.ts";
import type { NatTable } from "./nat-table.ts";
import type { Drift } from "./script.ts";

/** The elements that do what the stray rules of iptables do. */
const strays: Readonly<Record<string, readonly [map: MapName, key: string, value: string]>> = {
  "-d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.6": ["fip_in", "203.0.113.10", "10.0.1.6"],
  "-d 203.0.113.11/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.5:81": [
    "dnat_1",
    "203.0.113.11 . tcp . 80",
    "10.0.1.5 . 81",
  ],
  "-s 10.0.1.0/24 -j SNAT --to-source 203.0.113.12": [
    "snat_r",
    "10.0.1.0-10.0.1.255 . 0.0.0.0-0.0.0.15",
    "203.0.113.12",
  ],
  "-s 10.0.1.5/32 -j SNAT --to-source 203.0.113.254": ["fip_out", "10.0.1.5", "203.0.113.254"],
};

/** @returns false if the drift is not about rules */
export function driftElements(table: NatTable, drift: Drift): boolean {
  switch (drift.do) {
    case "delete rule": {
      const all = mapNames.flatMap((map) =>
        [...table.elements(map).keys()].map((key) => [map, key] as const),
      );
      const gone = all[drift.number % all.length];
      if (gone !== undefined) table.delete(gone[0], [gone[1]]);
      return true;
    }
    case "flush chain": {
      const map = mapNames[drift.number % mapNames.length];
      if (map !== undefined) table.delete(map, [...table.elements(map).keys()]);
      return true;
    }
    case "flush nat":
      table.drop();
      return true;
    case "stray rule": {
      const [map, key, value] = strays[drift.rule] ?? [];
      if (map === undefined || key === undefined || value === undefined) return true;
      if (table.elements(map).get(key) !== value)
        table.delete(map, table.elements(map).has(key) ? [key] : []);
      table.put(map, key, value);
      return true;
    }
    case "foreign rule":
    case "double hook":
      return true;
    default:
      return false;
  }
}
