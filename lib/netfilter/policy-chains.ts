/**
 * IPsec policies as chains. Of each direction the first policy that matches decides. What the kernel does with each packet
 * that it forwards, as tried with packets:
 *
 * - `fwd` comes before the hook forward, but sees the addresses with which the packet came in: a DNAT is not there yet.
 * - `out` comes right after it, with the addresses after DNAT, and again after SNAT, with the source that it has then.
 * - `in` is for what the gateway itself gets, after the hook input, as received.
 *
 * The interface of a policy is the one that packets leave by, which is `lo` for what the gateway gets. `disable_policy` of the
 * interface that they come in by switches off `in` and `fwd`, `disable_xfrm` of the one that they leave by `out`.
 */
import type { Family } from "../model/family.ts";
import { ipv4 } from "../model/ipv4.ts";
import type { DefaultBlocks, PolicyDirection, Prefix, XfrmPolicy } from "../netlink/xfrm-policies.ts";
import type { Chain, ChainRule, Effect, Hook, HookName, NameTest, RangeTest, Test } from "./chain.ts";
import { prefixTest, protocolTest } from "./header-tests.ts";
import { policyText } from "./policy-text.ts";

export interface PolicyRules {
  /** In the order of the kernel's answer: the newest first. */
  readonly policies: readonly XfrmPolicy[];
  readonly defaultBlocks: DefaultBlocks;
}

/** Chains are of this family. Policies of others do not matter. */
export const policyFamily: Family = ipv4;

const place = "ip xfrm policy";
const [beforeAll, second, last] = [-0x80000000, -0x7fffffff, 0x7fffffff];

/**
 * Nothing for a direction whose policies let all packets pass.
 *
 * @param nameOf the name of an interface by its index
 */
export function policyChains(
  { policies, defaultBlocks }: PolicyRules,
  nameOf: (index: number) => string | undefined,
): readonly Chain[] {
  // Of equal priority the older comes first. One that was replaced counts as new, as it does in most of the kernel's lists.
  const inOrder = policies
    .filter(({ interfaceId }) => interfaceId === 0)
    .toReversed()
    .toSorted((one, other) => one.priority - other.priority);
  const subs = inOrder.filter(({ isSub }) => isSub);
  const mains = inOrder.filter(({ isSub }) => !isSub);
  /** @param isLast false if another look at the packet follows */
  const chainOf = (name: PolicyDirection, of: readonly XfrmPolicy[], hook: Hook, isLast = true) => {
    const rules = of
      .filter(
        ({ direction, interfaceIndex: index }) =>
          direction === name && (name !== "in" || index === 0 || nameOf(index) === "lo"),
      )
      .map((policy) => ruleOf(policy, nameOf, isLast));
    if (of !== subs && defaultBlocks[name]) rules.push(blockedByDefault(name));
    return rules.some(({ effect }) => effect.kind === "harm" || effect.kind === "unclear")
      ? [{ place, name, hook, rules }]
      : [];
  };
  return [
    // A forwarded packet that a sub-policy matches is not compared with the others.
    ...chainOf("fwd", [...subs, ...mains], hookOf("forward", beforeAll, true)),
    ...[subs, mains].flatMap((of) => [
      ...chainOf("out", of, hookOf("forward", second), false),
      ...chainOf("out", of, hookOf("postrouting", last)),
      ...chainOf("in", of, hookOf("input", last, true)),
    ]),
  ];
}

/** What nobody may read, for the reason `code`. */
export function unreadablePolicies(code: string): readonly Chain[] {
  const rules = [
    { text: `cannot be read: ${code}`, tests: [], beyond: "unclear", effect: { kind: "unclear" } },
  ] as const;
  return [{ place, name: "fwd", hook: hookOf("forward", beforeAll, true), rules }];
}

function hookOf(name: HookName, priority: number, isAsReceived = false): Hook {
  const hook = { name, type: "filter", priority, policy: "accept", devices: [] } as const;
  return isAsReceived ? { ...hook, isAsReceived } : hook;
}

function blockedByDefault(direction: PolicyDirection): ChainRule {
  const effect: Effect = { kind: "harm", verb: "drops" };
  return { text: `setdefault ${direction} block`, tests: [], beyond: "all", effect };
}

function ruleOf(
  policy: XfrmPolicy,
  nameOf: (index: number) => string | undefined,
  isLast: boolean,
): ChainRule {
  const { direction, source, destination, protocol, interfaceIndex, mark, hasLabel } = policy;
  const name = interfaceIndex === 0 ? undefined : (nameOf(interfaceIndex) ?? `if${interfaceIndex}`);
  const ports = [portTest("sourcePort", policy), portTest("destinationPort", policy)];
  const tests: Test[] = [
    addressTest("source", source),
    addressTest("destination", destination),
    ...ports,
  ].filter((test) => test !== undefined && test !== "unclear");
  if (protocol !== 0) tests.push(protocolTest(protocol));
  if (name !== undefined && direction !== "in") tests.push(outTest(name));
  const isUnclear = ports.includes("unclear") || mark.mask !== 0 || hasLabel;
  return {
    text: policyText(policy, name),
    tests,
    beyond: isUnclear ? "unclear" : "all",
    effect: effectOf(policy, isLast),
  };
}

/**
 * Templates: packets come in protected or not at all, and what leaves is encrypted, if that is possible.
 *
 * What one look decides for `out` before SNAT, the look after SNAT can undo: such packets leave as they are.
 */
function effectOf({ direction, action, templates }: XfrmPolicy, isLast: boolean): Effect {
  if (action === "block") return { kind: "harm", verb: "drops" };
  if (action === "unknown") return { kind: "unclear" };
  if (templates.length === 0) return { kind: "accept" };
  const isRequired = templates.some(({ isOptional }) => !isOptional);
  if (direction !== "out") return isRequired ? { kind: "harm", verb: "drops" } : { kind: "accept" };
  return { kind: "harm", verb: "takes", ...((!isRequired || !isLast) && { isMaybe: true }) };
}

function addressTest(field: "source" | "destination", { address, length }: Prefix): RangeTest | undefined {
  return length === 0 ? undefined : prefixTest(field, -1 << (32 - Math.min(length, 32)), Number(address));
}

function portTest(
  field: "sourcePort" | "destinationPort",
  policy: XfrmPolicy,
): RangeTest | undefined | "unclear" {
  const { value, mask } = policy[field];
  return mask === 0 ? undefined : (prefixTest(field, mask, value, 16) ?? "unclear");
}

function outTest(name: string): NameTest {
  return { field: "out", names: [name], isInverted: false };
}

/** Interfaces whose packets meet no policies, `all` for every one. */
export interface PolicySwitches {
  /** With `disable_policy`. */
  readonly policy: readonly string[];
  /** With `disable_xfrm`. */
  readonly xfrm: readonly string[];
}

/** The chains as far as sysctls leave them. */
export function withSwitches(chains: readonly Chain[], { policy, xfrm }: PolicySwitches): readonly Chain[] {
  return chains.flatMap((chain) => {
    const [field, setting, names] =
      chain.name === "out"
        ? (["out", "disable_xfrm", xfrm] as const)
        : (["in", "disable_policy", policy] as const);
    if (names.includes("all")) return [];
    const passes = names.map(
      (name): ChainRule => ({
        text: `${policyFamily.sysctls.devices}.${name}.${setting}=1`,
        tests: [{ field, names: [name], isInverted: false }],
        beyond: "all",
        effect: { kind: "accept" },
      }),
    );
    return [{ ...chain, rules: [...passes, ...chain.rules] }];
  });
}
