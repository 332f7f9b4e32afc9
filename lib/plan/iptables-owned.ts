/** What the owned chains say, without asking what they should say. */
import type { Rule } from "../iptables/rule.ts";
import type { RuleDump, TableRules } from "../iptables/save.ts";
import { type Ipv4, parseIpv4 } from "../model/ipv4.ts";

/** The owned chains of nat that hold objects' rules. */
const objectChains = [
  "EXCLUSIVE_DNAT",
  "EXCLUSIVE_SNAT",
  "SHARED_DNAT",
  "SHARED_SNAT",
  "HAIRPIN_SNAT",
] as const;
const frameChains = ["DNAT_FILTER", "SNAT_FILTER"] as const;

/** True where an owned chain holds a rule of an object; hooks, frame, gate and guard do not count. */
export function holdsObjects(dump: RuleDump): boolean {
  return objectChains.some((chain) => rulesOf(dump, chain).length > 0);
}

/** True where someone prepared this variant: the frame is there, whatever stands in it. */
export function holdsFrame(dump: RuleDump): boolean {
  return frameChains.some((chain) => rulesOf(dump, chain).length > 0);
}

/** The addresses that objects' rules name as EIP. */
export function eipsNamed(dump: RuleDump): ReadonlySet<Ipv4> {
  return new Set(
    objectChains.flatMap((chain) => rulesOf(dump, chain).map(eipOf)).filter((eip) => eip !== undefined),
  );
}

function eipOf({ spec }: Rule): Ipv4 | undefined {
  if (spec?.target.kind === "snat") return spec.target.to;
  if (spec?.target.kind !== "dnat" || !spec.destination?.endsWith("/32")) return undefined;
  return parseIpv4(spec.destination.slice(0, -"/32".length));
}

function rulesOf(dump: RuleDump, chain: string): readonly Rule[] {
  const nat: TableRules | undefined = dump.get("nat");
  return nat?.get(chain) ?? [];
}
