/**
 * What other programs attach to a device beside nf_tables, as chains: filters of traffic control, qdiscs that drop everything, and
 * XDP programs. The kernel calls XDP before everything else that comes in, then the filters; what goes out meets the filters and
 * then the root qdisc last.
 */
import type { AttachedXdp } from "../netlink/rtnetlink-xdp.ts";
import { type Action, type Filter, type FilterPlace, type Key, verdicts } from "../tc/filter.ts";
import { handleText, rootParent } from "../tc/handles.ts";
import type { Qdisc } from "../tc/qdisc.ts";
import type { Chain, ChainRule, Effect, HookName, RangeTest, Test } from "./chain.ts";
import { prefixTest, protocolTest } from "./header-tests.ts";

/** ETH_P_*. */
const protocols = { all: 0x0003, ip: 0x0800, arp: 0x0806 } as const;
const [beforeAll, first, last] = [-0x80000000, -0x7fffffff, 0x7fffffff];

/** What only the program itself knows. */
export function xdpChain(device: string, { mode, programId }: AttachedXdp): Chain {
  const text = programId === 0 ? "programs" : `program ${programId}`;
  const rule: ChainRule = { text, tests: [], beyond: "unclear", effect: { kind: "unclear" } };
  return {
    place: `ip link ${device}`,
    name: mode,
    hook: { name: "ingress", type: "filter", priority: beforeAll, policy: "accept", devices: [device] },
    rules: [rule],
  };
}

/**
 * A qdisc that drops what goes out. Below another one it gets a part of the packets, which nobody knows. `undefined` if it drops
 * none.
 */
export function qdiscChain(device: string, { parent, dropsAll, dropsMany }: Qdisc): Chain | undefined {
  const text = dropsAll ?? dropsMany;
  if (text === undefined) return undefined;
  const isRoot = parent === rootParent;
  const isSure = isRoot && dropsAll !== undefined;
  const effect: Effect = { kind: "harm", verb: "drops", ...(!isSure && { isMaybe: true }) };
  return {
    place: `tc qdisc dev ${device}`,
    name: isRoot ? "root" : `parent ${handleText(parent)}`,
    hook: { name: "egress", type: "filter", priority: last, policy: "accept", devices: [device] },
    rules: [{ text, tests: [], beyond: "all", effect }],
  };
}

/**
 * The filters of one place. Those of ARP are a chain of their own on `input` or `output`, as a table `arp` of nf_tables has it.
 *
 * @param filters in the order of the kernel's answer
 * @param givesBack true for a device that gives packets back to the one from which they were redirected
 */
export function filterChains(
  device: string,
  place: FilterPlace,
  filters: readonly Filter[],
  givesBack: (index: number) => boolean = () => false,
): readonly Chain[] {
  const inOrder = filters.toSorted((one, other) => one.preference - other.preference);
  const isIn = place === "ingress";
  const chainOf = (protocol: number, name: HookName, label: string): readonly Chain[] => {
    const its = inOrder.filter((filter) => [protocol, protocols.all].includes(filter.protocol));
    // A filter for all protocols alone is told once.
    if (!its.some((filter) => filter.protocol === protocol) && protocol === protocols.arp) return [];
    const rules = its.map((filter) => ruleOf(filter, givesBack));
    if (!rules.some(({ effect }) => effect.kind === "harm" || effect.kind === "unclear")) return [];
    const hook = {
      name,
      type: "filter",
      priority: isIn ? first : last,
      policy: "accept",
      devices: [device],
    } as const;
    return [{ place: `tc ${label}filter dev ${device}`, name: place, hook, rules }];
  };
  return [
    ...chainOf(protocols.ip, isIn ? "ingress" : "egress", ""),
    ...chainOf(protocols.arp, isIn ? "input" : "output", "arp "),
  ];
}

function ruleOf(
  { preference, kind, keys, actions, isProgram }: Filter,
  givesBack: (index: number) => boolean,
): ChainRule {
  const { tests, isWhole } = keys === undefined ? { tests: [], isWhole: false } : testsOf(keys);
  const effect = isProgram ? unclear : effectOf(actions, givesBack);
  const matches = keys?.map(keyText) ?? [];
  const text = [`pref ${preference} ${kind}`, ...matches, ...actions.map(actionText)].join(" ");
  return { text, tests, beyond: isWhole ? "all" : "unclear", effect };
}

const unclear: Effect = { kind: "unclear" };

/** The first action that ends it. Without any, a filter only chooses a class. */
function effectOf(actions: readonly Action[], givesBack: (index: number) => boolean): Effect {
  for (const { kind, verdict, redirectsTo } of actions) {
    // What comes back meets no further filter.
    if (redirectsTo !== undefined && givesBack(redirectsTo)) return { kind: "accept" };
    if (redirectsTo !== undefined) return { kind: "harm", verb: "takes" };
    if (kind === "pedit" || kind === "nat") return { kind: "harm", verb: "rewrites" };
    switch (verdict) {
      case verdicts.pipe:
        continue;
      case verdicts.continue:
        return { kind: "continue" };
      case verdicts.ok:
        return { kind: "accept" };
      case verdicts.shot:
        return { kind: "harm", verb: "drops" };
      case verdicts.stolen:
      case verdicts.queued:
      case verdicts.trap:
        return { kind: "harm", verb: "takes" };
      default:
        return unclear;
    }
  }
  return { kind: "accept" };
}

interface Tested {
  readonly tests: readonly Test[];
  /** False if a key tests something else. */
  readonly isWhole: boolean;
}

function testsOf(keys: readonly Key[]): Tested {
  const tests: Test[] = [];
  let isWhole = true;
  for (const { offset, mask, value } of keys) {
    if (mask === 0) continue;
    const test = testOf(offset, mask, value);
    if (test === undefined) isWhole = false;
    else tests.push(test);
  }
  return { tests, isWhole };
}

/** Offsets in the header of IPv4, and in the header after one of 20 bytes. */
const at = { protocol: 8, source: 12, destination: 16, ports: 20 } as const;
const protocolMask = 0x00ff0000;
const [sourcePortMask, destinationPortMask] = [0xffff0000, 0x0000ffff];

function testOf(offset: number, mask: number, value: number): Test | undefined {
  switch (offset) {
    case at.source:
      return prefixTest("source", mask, value);
    case at.destination:
      return prefixTest("destination", mask, value);
    case at.protocol:
      return mask === protocolMask ? protocolTest((value >>> 16) & 0xff) : undefined;
    case at.ports:
      if (mask === destinationPortMask) return portTest("destinationPort", value);
      return mask >>> 0 === sourcePortMask ? portTest("sourcePort", value >>> 16) : undefined;
    default:
      return undefined;
  }
}

function portTest(field: RangeTest["field"], port: number): RangeTest {
  return { field, ranges: [[port, port]], isInverted: false };
}

/** As tc prints it. */
function keyText({ offset, mask, value }: Key): string {
  return `match ${hex(value)}/${hex(mask)} at ${offset}`;
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, "0");
}

function actionText({ kind, verdict, redirectsTo }: Action): string {
  const name = Object.entries(verdicts).find(([, number]) => number === verdict)?.[0];
  return `action ${kind}${redirectsTo !== undefined ? " redirect" : name === undefined ? "" : ` ${names[name] ?? name}`}`;
}

/** The words of tc. */
const names: Readonly<Record<string, string>> = { shot: "drop", ok: "pass" };
