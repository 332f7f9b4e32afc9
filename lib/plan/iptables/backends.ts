/**
 * DNATs with a list of backends, as the nftables table `ip kube-ovn` beside the rules of iptables. It always exists where there
 * is nft. Each such DNAT has a chain with one rule, and an element that leads to the chain: a change rewrites one chain.
 */
import { type Chunked, everyNth, filterChunked, forEachChunked, mapChunked, runSync } from "../../chunked.ts";
import type { Change } from "../../model/change.ts";
import type { Ip } from "../../model/ip.ts";
import type { ObjectId } from "../../model/names.ts";
import type { Program, ProgramDnat } from "../../model/program.ts";
import {
  type BackendsRule,
  type BackendsTransaction,
  backendsMap,
  backendsTable,
  chainOfService,
  chainText,
  eipOfService,
  gotoText,
  type ObservedBackends,
  ruleText,
  serviceKey,
} from "../../nftables/backends.ts";
import { backendsDefinitionLines } from "../../nftables/decode-backends.ts";
import { isSameDefinition } from "../../nftables/definition-lines.ts";
import { tableLabel } from "../../nftables/family.ts";
import { catchAll } from "../../nftables/maps.ts";

/** What a DNAT has in the table. */
export interface WantedService {
  readonly object: ObjectId;
  readonly dnat: ProgramDnat;
  readonly key: string;
  /** The rule of its chain. */
  readonly text: string;
}

/** By chain. */
export type WantedBackends = ReadonlyMap<string, WantedService>;

/** True if the DNAT is in the table, where there is one. */
export function isInTable({ isList = false, backends }: ProgramDnat): boolean {
  return isList || backends.length > 1;
}

export function wantedBackends(program: Program): WantedBackends {
  return runSync(wantedBackendsChunked(program));
}

export function* wantedBackendsChunked({ dnats }: Program): Chunked<WantedBackends> {
  const wanted = new Map<string, WantedService>();
  let spelt = 0;
  for (const dnat of dnats) {
    if (!isInTable(dnat)) continue;
    spelt += 1 + dnat.backends.length;
    if (spelt > backendsPerPart) {
      spelt = 0;
      yield;
    }
    const key = serviceKey(dnat);
    wanted.set(chainOfService(key), { object: dnat.id, dnat, key, text: ruleText(dnat) });
  }
  return wanted;
}

const backendsPerPart = 5_000;

export interface BackendsPlan {
  /** `undefined`: nothing to do. */
  readonly transaction: BackendsTransaction | undefined;
  readonly changes: readonly Change[];
}

/** In this order, with the rules of iptables in between. */
export interface BackendsPlans {
  /** What is added and changed. */
  readonly before: BackendsPlan;
  /** What is removed. */
  readonly after: BackendsPlan;
}

/** Planning on the result plans nothing. */
export function planBackends(...given: Parameters<typeof planBackendsChunked>): BackendsPlans {
  return runSync(planBackendsChunked(...given));
}

/** The same in parts. */
export function* planBackendsChunked(
  wanted: WantedBackends,
  observed: ObservedBackends,
): Chunked<BackendsPlans> {
  const isRight = isDefinitionRight(observed);
  const differing = yield* differingFrom(observed, wanted);
  const surplus = yield* surplusOf(wanted, observed);
  if (isRight) {
    return { before: yield* writing(differing, observed, undefined), after: yield* removing(surplus) };
  }
  // The whole table is made anew in one transaction: no packet finds it incomplete.
  const definition = observed.definition === undefined ? "make" : "replace";
  const { transaction } = yield* writing([...wanted], noBackends, definition);
  const table: Change = {
    action: definition === "make" ? "add" : "replace",
    subsystem: "rule",
    text: `table ${tableLabel(backendsTable)}`,
  };
  const { changes } = yield* writing(differing, observed, undefined);
  const removed = yield* removing(surplus);
  return {
    before: { transaction, changes: [table, ...changes, ...removed.changes] },
    after: nothing,
  };
}

/**
 * From one part of a program to another. Nothing else is looked at.
 * @returns `undefined` if the whole table has to be planned
 */
export function planBackendsPart(
  from: WantedBackends,
  to: WantedBackends,
  observed: ObservedBackends,
): BackendsPlans | undefined {
  if (!isDefinitionRight(observed)) return undefined;
  const differing = runSync(differingFrom(observed, to));
  const gone = [...from].filter(([chain]) => !to.has(chain));
  const surplus = {
    keys: gone.map(([, { key }]) => key).filter((key) => observed.elements.has(key)),
    chains: gone.map(([chain]) => chain).filter((chain) => observed.chains.has(chain)),
  };
  const before = runSync(writing(differing, observed, undefined));
  return { before, after: runSync(removing(surplus)) };
}

/** Both in one transaction, where nothing has to come in between. */
export function joinBackends({ before, after }: BackendsPlans): BackendsPlan {
  if (before.transaction === undefined) return after;
  if (after.transaction === undefined) return before;
  const { remove, drop } = after.transaction;
  const transaction = {
    ...before.transaction,
    remove: [...before.transaction.remove, ...remove],
    drop: [...before.transaction.drop, ...drop],
  };
  return { transaction, changes: [...before.changes, ...after.changes] };
}

/** DNATs that lack something, each with the first missing thing as text. */
export function missingBackends(
  ...given: Parameters<typeof missingBackendsChunked>
): ReadonlyMap<ObjectId, string> {
  return runSync(missingBackendsChunked(...given));
}

/** The same in parts. */
export function* missingBackendsChunked(
  wanted: WantedBackends,
  observed: ObservedBackends,
): Chunked<ReadonlyMap<ObjectId, string>> {
  const missing = new Map<ObjectId, string>();
  const isRight = isDefinitionRight(observed);
  const isDue = everyNth(servicesAtOnce);
  for (const [chain, service] of wanted) {
    if (isDue()) yield;
    const { object, key, text } = service;
    const table = `table ${tableLabel(backendsTable)}`;
    if (!isRight) missing.set(object, `${table} has wrong chains, maps or rules`);
    else if (observed.elements.get(key) !== gotoText(chain))
      missing.set(object, `missing element ${elementText(key, gotoText(chain))}`);
    else if (observed.chains.get(chain) !== text)
      missing.set(object, `${table} lacks ${chainText(chain, service.dnat)}`);
  }
  return missing;
}

/** True if there is anything of a DNAT. */
export function holdsBackends({ elements, chains }: ObservedBackends): boolean {
  return elements.size + chains.size > 0;
}

/** The number of rules and elements. */
export function countBackends({ definition = [], elements, chains }: ObservedBackends): number {
  return definition.filter((line) => line.startsWith("rule ")).length + elements.size + chains.size;
}

export function* eipsOfServicesChunked(elements: ObservedBackends["elements"]): Chunked<ReadonlySet<Ip>> {
  const eips = new Set<Ip>();
  yield* forEachChunked(elements.keys(), servicesAtOnce, (key) => {
    if (key !== catchAll) eips.add(eipOfService(key));
  });
  return eips;
}

/** Takes a few milliseconds. */
const servicesAtOnce = 2_000;

const noBackends: ObservedBackends = { definition: undefined, elements: new Map(), chains: new Map() };
const nothing: BackendsPlan = { transaction: undefined, changes: [] };

function isDefinitionRight({ definition }: ObservedBackends): boolean {
  return isSameDefinition(definition, backendsDefinitionLines());
}

function isAsWanted(chain: string, { key, text }: WantedService, observed: ObservedBackends): boolean {
  return observed.chains.get(chain) === text && observed.elements.get(key) === gotoText(chain);
}

interface Surplus {
  readonly keys: readonly string[];
  readonly chains: readonly string[];
}

function differingFrom(
  observed: ObservedBackends,
  wanted: WantedBackends,
): Chunked<readonly (readonly [chain: string, service: WantedService])[]> {
  return filterChunked(wanted, servicesAtOnce, ([chain, service]) => !isAsWanted(chain, service, observed));
}

function* surplusOf(wanted: WantedBackends, { elements, chains }: ObservedBackends): Chunked<Surplus> {
  const keys = new Set<string>();
  yield* forEachChunked(wanted.values(), servicesAtOnce, ({ key }) => keys.add(key));
  return {
    keys: yield* filterChunked(elements.keys(), servicesAtOnce, (key) => !keys.has(key)),
    chains: yield* filterChunked(chains.keys(), servicesAtOnce, (chain) => !wanted.has(chain)),
  };
}

function* writing(
  services: readonly (readonly [chain: string, service: WantedService])[],
  { elements, chains }: ObservedBackends,
  definition: BackendsTransaction["definition"],
): Chunked<BackendsPlan> {
  if (services.length === 0 && definition === undefined) return nothing;
  const write = new Map<string, BackendsRule & { readonly isNew: boolean }>();
  const add = new Map<string, string>();
  const remove: string[] = [];
  const changes: Change[] = [];
  const isDue = everyNth(servicesAtOnce);
  for (const [chain, { object, dnat, key, text }] of services) {
    if (isDue()) yield;
    const held = chains.get(chain);
    const verdict = elements.get(key);
    const { protocol, backends, isSticky = false } = dnat;
    if (held !== text) {
      write.set(chain, { protocol, backends, isSticky, isNew: held === undefined });
      const action = held === undefined ? "add" : "replace";
      changes.push({ action, subsystem: "rule", object, text: chainText(chain, dnat) });
    }
    if (verdict === gotoText(chain)) continue;
    // The kernel refuses a second value for a key: delete the element and add it in one transaction.
    if (verdict !== undefined) remove.push(key);
    add.set(key, chain);
    const action = verdict === undefined ? "add" : "replace";
    changes.push({ action, subsystem: "rule", object, text: elementText(key, gotoText(chain)) });
  }
  return { transaction: { definition, remove, drop: [], write, add }, changes };
}

function* removing({ keys, chains }: Surplus): Chunked<BackendsPlan> {
  if (keys.length + chains.length === 0) return nothing;
  const gone = (text: string): Change => ({ action: "remove", subsystem: "rule", text });
  return {
    transaction: { definition: undefined, remove: keys, drop: chains, write: new Map(), add: new Map() },
    changes: [
      ...(yield* mapChunked(keys, servicesAtOnce, (key) =>
        gone(elementText(key, gotoText(chainOfService(key)))),
      )),
      ...(yield* mapChunked(chains, servicesAtOnce, (chain) =>
        gone(`chain ${tableLabel(backendsTable)} ${chain}`),
      )),
    ],
  };
}

function elementText(key: string, verdict: string): string {
  return `${tableLabel(backendsTable)} ${backendsMap} { ${key} : ${verdict} }`;
}
