/** Finds, for each object, rules that were not read back, or that are present but cannot take effect. */
import { type Chunked, everyNth, forEachChunked, runSync } from "../../chunked.ts";
import { hostMask } from "../../iptables/masked.ts";
import { jumpTarget, makeRule, type Rule } from "../../iptables/rule.ts";
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
  readonly fixed: string;
  readonly chains: readonly string[];
}

const inward: Path = {
  hook: "PREROUTING",
  fixed: "DNAT_FILTER",
  chains: ["EXCLUSIVE_DNAT", "SHARED_DNAT"],
};
const outward: Path = {
  hook: "POSTROUTING",
  fixed: "SNAT_FILTER",
  chains: ["EXCLUSIVE_SNAT", "SHARED_SNAT", "HAIRPIN_SNAT"],
};

/**
 * Objects that lack something, each with the first missing thing as text. A wrong hook or fixed chain counts for every
 * object behind it.
 *
 * @param services - DNATs in the table of backends
 */
export function missingRules(
  ...given: Parameters<typeof missingRulesChunked>
): ReadonlyMap<ObjectId, string> {
  return runSync(missingRulesChunked(...given));
}

/** The same in parts. */
export function* missingRulesChunked(
  nat: WantedTable,
  mangle: WantedTable,
  observed: RuleDump,
  family: Family,
  services: WantedBackends = new Map(),
): Chunked<ReadonlyMap<ObjectId, string>> {
  const missing = new Map<ObjectId, string>();
  const rules = observed.get("nat") ?? new Map();
  for (const path of [inward, outward]) {
    const shadows = new ShadowIndex(family);
    yield* checkPath(path, nat, rules, shadows, missing);
    if (path === inward && !shadows.isEmpty) yield* checkServices(services, shadows, family, missing);
  }
  const markRules = observed.get("mangle") ?? new Map();
  const markFault = yield* faultOfFixed(mangle, "PREROUTING", "VPC_MARK", markRules);
  if (markFault !== undefined) yield* recordFault(nat, ["HAIRPIN_SNAT"], markFault, missing);
  return missing;
}

type Findings = Map<ObjectId, string>;

function* checkPath(
  { hook, fixed, chains }: Path,
  nat: WantedTable,
  rules: TableRules,
  shadows: ShadowIndex,
  found: Findings,
): Chunked<void> {
  const fault = yield* faultOfFixed(nat, hook, fixed, rules);
  if (fault !== undefined) yield* recordFault(nat, chains, fault, found);
  for (const name of chains) {
    yield;
    yield* checkChain(chainOf(nat, name), rules, shadows, found);
  }
}

/** The table of backends gets only what passes the chains of the path. */
function* checkServices(
  services: WantedBackends,
  shadows: ShadowIndex,
  family: Family,
  found: Findings,
): Chunked<void> {
  const isDue = everyNth(shadowsAtOnce);
  for (const [chain, { object, dnat }] of services) {
    if (isDue()) yield;
    const rule = makeRule({
      destination: hostMask(dnat.eip, family),
      protocol: dnat.protocol,
      destinationPort: dnat.externalPort,
      target: jumpTarget(chain),
    });
    const shadow = shadows.shadowOf(rule);
    if (shadow !== undefined && !found.has(object))
      found.set(object, `chain ${chain} gets no packets because of ${shadow.text}`);
  }
}

function* faultOfFixed(
  table: WantedTable,
  hookChain: string,
  fixed: string,
  rules: TableRules,
): Chunked<string | undefined> {
  const hook = table.hooks.find(({ chain }) => chain === hookChain);
  if (hook && !isHooked(hook, rules.get(hookChain) ?? [])) return `${hookChain} does not jump to ${fixed}`;
  const isRight = yield* isAsWanted(chainOf(table, fixed), rules.get(fixed) ?? []);
  return isRight ? undefined : `${fixed} has wrong rules`;
}

function* recordFault(
  table: WantedTable,
  chains: readonly string[],
  fault: string,
  found: Findings,
): Chunked<void> {
  for (const name of chains)
    yield* forEachChunked(chainOf(table, name).rules, lookedAtOnce, ({ object }) => {
      if (object !== undefined && !found.has(object)) found.set(object, fault);
    });
}

/** Both take a few milliseconds. */
const lookedAtOnce = 4_000;
const shadowsAtOnce = 1_000;

/** @param shadows - foreign rules on the path ahead of this chain; those of this chain are added */
function* checkChain(
  chain: WantedChain,
  rules: TableRules,
  shadows: ShadowIndex,
  found: Findings,
): Chunked<void> {
  const observed = rules.get(chain.name) ?? [];
  if (shadows.isEmpty && (yield* isAsWanted(chain, observed))) return;
  const { absent, misplaced, surplus, kept } = yield* compareChain(chain, observed);
  const record = (object: ObjectId | undefined, text: string) => {
    if (object !== undefined && !found.has(object)) found.set(object, text);
  };
  yield* forEachChunked(absent, lookedAtOnce, ({ object, rule }) =>
    record(object, `${chain.name} lacks ${rule.text}`),
  );
  yield* forEachChunked(misplaced, lookedAtOnce, ({ object, rule }) =>
    record(object, `${chain.name} holds ${rule.text} out of order`),
  );
  if (shadows.isEmpty && surplus.length === 0) return;

  const isSurplus = new Set(surplus);
  const objectOf = new Map<Rule, ObjectId | undefined>();
  yield* forEachChunked(kept, lookedAtOnce, ({ asRead, wanted }) => objectOf.set(asRead, wanted.object));
  const isDue = everyNth(shadowsAtOnce);
  for (const rule of observed) {
    if (isDue()) yield;
    const shadow = isSurplus.has(rule) ? undefined : shadows.shadowOf(rule);
    if (shadow !== undefined)
      record(objectOf.get(rule), `${rule.text} gets no packets because of ${shadow.text}`);
    if (isSurplus.has(rule)) shadows.add(rule);
  }
}

function chainOf(table: WantedTable, name: string): WantedChain {
  return table.chains.find((chain) => chain.name === name) ?? { name, order: "exact", rules: [] };
}
