/** Finds, for each object, rules that were not read back, or that are present but cannot take effect. */
import { hostMask } from "../../iptables/masked.ts";
import { makeRule } from "../../iptables/rule.ts";
import type { RuleDump, TableRules } from "../../iptables/save.ts";
import type { Family } from "../../model/family.ts";
import type { ObjectId } from "../../model/names.ts";
import type { WantedBackends } from "./backends.ts";
import { compareChain, isAsWanted } from "./compare.ts";
import type { WantedChain, WantedTable } from "./layout.ts";
import { ShadowIndex } from "./shadow.ts";
import { isHooked } from "./table.ts";

/** The path of packets: the hook, the chain it jumps to, and the chains of objects in call order. */
interface Path {
  readonly hook: string;
  readonly frame: string;
  readonly chains: readonly string[];
}

const inward: Path = {
  hook: "PREROUTING",
  frame: "DNAT_FILTER",
  chains: ["EXCLUSIVE_DNAT", "SHARED_DNAT"],
};
const outward: Path = {
  hook: "POSTROUTING",
  frame: "SNAT_FILTER",
  chains: ["EXCLUSIVE_SNAT", "SHARED_SNAT", "HAIRPIN_SNAT"],
};

/**
 * Objects that lack something, each with the first missing thing as text. A wrong hook or frame chain counts for every
 * object behind it.
 *
 * @param services - DNATs in the table of backends
 */
export function missingRules(
  nat: WantedTable,
  mangle: WantedTable,
  observed: RuleDump,
  family: Family,
  services: WantedBackends = new Map(),
): ReadonlyMap<ObjectId, string> {
  const missing = new Map<ObjectId, string>();
  const rules = observed.get("nat") ?? new Map();
  for (const path of [inward, outward]) {
    const shadows = new ShadowIndex(family);
    checkPath(path, nat, rules, shadows, missing);
    if (path === inward && !shadows.isEmpty) checkServices(services, shadows, family, missing);
  }
  const markFault = faultOfFrame(mangle, "PREROUTING", "VPC_MARK", observed.get("mangle") ?? new Map());
  if (markFault !== undefined) recordFault(nat, ["HAIRPIN_SNAT"], markFault, missing);
  return missing;
}

type Findings = Map<ObjectId, string>;

function checkPath(
  { hook, frame, chains }: Path,
  nat: WantedTable,
  rules: TableRules,
  shadows: ShadowIndex,
  found: Findings,
): void {
  const fault = faultOfFrame(nat, hook, frame, rules);
  if (fault !== undefined) recordFault(nat, chains, fault, found);
  for (const name of chains) checkChain(chainOf(nat, name), rules, shadows, found);
}

/** The table of backends gets only what passes the chains of the path. */
function checkServices(
  services: WantedBackends,
  shadows: ShadowIndex,
  family: Family,
  found: Findings,
): void {
  for (const [chain, { object, dnat }] of services) {
    const rule = makeRule({
      destination: hostMask(dnat.eip, family),
      protocol: dnat.protocol,
      destinationPort: dnat.externalPort,
      target: { kind: "jump", chain },
    });
    const shadow = shadows.shadowOf(rule);
    if (shadow !== undefined && !found.has(object))
      found.set(object, `chain ${chain} gets no packets because of ${shadow.text}`);
  }
}

function faultOfFrame(
  table: WantedTable,
  hookChain: string,
  frame: string,
  rules: TableRules,
): string | undefined {
  const hook = table.hooks.find(({ chain }) => chain === hookChain);
  if (hook && !isHooked(hook, rules.get(hookChain) ?? [])) return `${hookChain} does not jump to ${frame}`;
  return isAsWanted(chainOf(table, frame), rules.get(frame) ?? []) ? undefined : `${frame} has wrong rules`;
}

function recordFault(table: WantedTable, chains: readonly string[], fault: string, found: Findings): void {
  for (const name of chains)
    for (const { object } of chainOf(table, name).rules)
      if (object !== undefined && !found.has(object)) found.set(object, fault);
}

/** @param shadows - foreign rules on the path ahead of this chain; those of this chain are added */
function checkChain(chain: WantedChain, rules: TableRules, shadows: ShadowIndex, found: Findings): void {
  const observed = rules.get(chain.name) ?? [];
  if (shadows.isEmpty && isAsWanted(chain, observed)) return;
  const { absent, misplaced, surplus, kept } = compareChain(chain, observed);
  const record = (object: ObjectId | undefined, text: string) => {
    if (object !== undefined && !found.has(object)) found.set(object, text);
  };
  for (const { object, rule } of absent) record(object, `${chain.name} lacks ${rule.text}`);
  for (const { object, rule } of misplaced) record(object, `${chain.name} holds ${rule.text} out of order`);

  const isSurplus = new Set(surplus);
  const objectOf = new Map(kept.map(({ asRead, wanted }) => [asRead, wanted.object]));
  for (const rule of shadows.isEmpty && surplus.length === 0 ? [] : observed) {
    const shadow = isSurplus.has(rule) ? undefined : shadows.shadowOf(rule);
    if (shadow !== undefined)
      record(objectOf.get(rule), `${rule.text} gets no packets because of ${shadow.text}`);
    if (isSurplus.has(rule)) shadows.add(rule);
  }
}

function chainOf(table: WantedTable, name: string): WantedChain {
  return table.chains.find((chain) => chain.name === name) ?? { name, order: "exact", rules: [] };
}
