/** Reads the agent's own rate limits: the table that puts packets into classes, and the classes. */
import { parseIp } from "../model/families.ts";
import type { InterfaceName } from "../model/names.ts";
import type { LimitTarget } from "../model/program.ts";
import { readableQosSets } from "../nftables/decode-qos.ts";
import { qosRulesIn } from "../nftables/decode-qos-rules.ts";
import { tableLabel } from "../nftables/family.ts";
import { parseLimitText, partsOfValue, type QosRule, qosTable } from "../nftables/qos.ts";
import { deviceMinor, elderFirst } from "../plan/qos/class-minors.ts";
import type { QosObserved } from "../plan/qos/observed.ts";
import { limitOfClass, limitOfPolicer } from "../plan/qos/rates.ts";
import { oppositeOf } from "../plan/qos/scopes.ts";
import { classKey } from "../plan/qos/shape.ts";
import { handleText, minorOf, ownHandle, parseHandle } from "../tc/handles.ts";
import type { HtbClass } from "../tc/htb-class.ts";
import type { Interfaces } from "./interfaces.ts";
import { asSpec, type LimitFacts, type ReadLimit } from "./limit-specs.ts";
import type { Unread } from "./read-rules.ts";

/** A limit, and the number of its class. */
interface Found extends LimitFacts {
  readonly key: string;
  /** Where it is enforced. */
  readonly device: InterfaceName;
  /** Of its class. 0: it is policed. */
  readonly minor: number;
}

/** Elder ones first: the numbers of their classes tell. */
export function readLimits(
  { table, devices }: QosObserved,
  interfaces: Interfaces,
): { readonly limits: readonly ReadLimit[]; readonly unread: readonly Unread[] } {
  const { definition, elements } = table ?? {};
  if (definition === undefined || elements === undefined) return { limits: [], unread: [] };
  const sets = readableQosSets(definition);
  const { rules, unknown } = qosRulesIn(definition, sets, [...devices.keys()]);
  const where = tableLabel(qosTable);
  const unread: Unread[] = [];
  if (unknown > 0)
    unread.push({ what: `rules that are not the agent's: ${unknown}`, where, why: "they are no limits" });
  const found: Found[] = [];
  const reader = new RuleReader(devices, interfaces, unread);
  for (const rule of rules) {
    const { match } = rule;
    if ("network" in match) {
      const { network, verdict } = match;
      const target: LimitTarget =
        network === undefined || rule.address === undefined
          ? { kind: "all" }
          : { kind: "network", side: rule.address.side, cidr: network };
      found.push(...reader.read(rule, target, verdict, rule.priority));
      continue;
    }
    const set = "map" in match ? match.map : match.set;
    for (const [key, text] of elements.get(set) ?? []) {
      const { value, priority } = partsOfValue(text);
      const eip = parseIp(key);
      const verdict = "map" in match ? { class: parseHandle(value) } : { over: parseLimitText(value) };
      if (eip === undefined) unread.push({ what: key, where: `${where} ${set}`, why: "it is no EIP" });
      else found.push(...reader.read(rule, { kind: "eip", eip }, verdict, priority));
    }
  }
  return { limits: inOrder(found).map((one) => asSpec(one, interfaces)), unread };
}

class RuleReader {
  readonly #devices: QosObserved["devices"];
  readonly #interfaces: Interfaces;
  readonly #unread: Unread[];

  constructor(devices: QosObserved["devices"], interfaces: Interfaces, unread: Unread[]) {
    this.#devices = devices;
    this.#interfaces = interfaces;
    this.#unread = unread;
  }

  read(
    { out, in: from }: QosRule,
    target: LimitTarget,
    verdict: Extract<QosRule["match"], { network: unknown }>["verdict"],
    priority: number | undefined,
  ): readonly Found[] {
    const common = {
      target,
      direction: from === undefined ? ("egress" as const) : ("ingress" as const),
      interface: from ?? out,
      priority,
    };
    const what = target.kind === "eip" ? target.eip : target.kind === "network" ? target.cidr : "all packets";
    if ("over" in verdict) {
      const limit = limitOfPolicer(verdict.over);
      const source = { what: `${what} over ${limit.rate} bytes/second`, where: tableLabel(qosTable) };
      return [{ ...common, limit, key: "", device: out, minor: 0, source }];
    }
    const handle = handleText(verdict.class);
    const source = { what: `${what} in class ${handle}`, where: `${tableLabel(qosTable)}, tc class ${out}` };
    const minor = minorOf(verdict.class);
    const held = this.#devices.get(out)?.classes.get(minor);
    if (held === undefined || verdict.class !== ownHandle(minor)) {
      this.#unread.push({ ...source, why: `there is no class ${handle} on ${out}` });
      return [];
    }
    const key = classKey(target, from, this.#parentOf(held, out, from));
    return [{ ...common, limit: limitOfClass(held), key, device: out, minor, source }];
  }

  /** The incoming interface whose class is the parent, if it is not the class of the device. */
  #parentOf({ parent }: HtbClass, out: InterfaceName, from = oppositeOf(out, this.#interfaces)) {
    return parent === deviceMinor ? undefined : from;
  }
}

/**
 * In an order that gives the same rules and classes again. Of the rules that choose a class the last one that matches takes
 * the packet: of two with one priority that of the elder limit. All others are in order of creation.
 */
function inOrder(found: readonly Found[]): readonly Found[] {
  const isChosen = ({ minor, target }: Found) => minor > 0 && target.kind !== "all";
  return [...Map.groupBy(found, ({ device }) => device).values()].flatMap((all) => [
    ...elderFirst(all.filter(isChosen).toReversed()),
    ...all.filter((one) => !isChosen(one)),
  ]);
}
