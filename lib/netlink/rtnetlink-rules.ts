/** Policy routing rules in rtnetlink(7): `struct fib_rule_hdr` and FRA_* of include/uapi/linux/fib_rules.h. */
import type { Family } from "../model/family.ts";
import type { Cidr } from "../model/ip.ts";
import type { PolicyRule } from "../model/observed.ts";
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "./attributes.ts";
import type { NetlinkMessage } from "./message.ts";

/** RTM_NEWRULE: the type of a dump's answers. */
export const newPolicyRule = 32;
const getPolicyRule = 34;

/** Bytes of `struct fib_rule_hdr`: family, two prefix lengths, TOS, table, two reserved, action, flags. */
const ruleHeader = 12;
const FIB_RULE_INVERT = 2;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_GOTO = 4;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_SUPPRESS_IFGROUP = 13;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
/** Attributes that the kernel adds to every rule, or that are no condition on packets. */
const FRA_PAD = 18;
const FRA_L3MDEV = 19;
const FRA_UID_RANGE = 20;
const FRA_PROTOCOL = 21;
const FRA_FLOW = 11;
/** FR_ACT_*. */
const actions = new Map([
  [3, "none"],
  [6, "blackhole"],
  [7, "unreachable"],
  [8, "prohibit"],
] as const);
const lookupAction = 1;
const gotoAction = 2;
/** "Suppress nothing": the kernel reports it for every rule. */
const noSuppression = 0xffffffff;

/** Requests all rules of the family. */
export function dumpPolicyRules({ number }: Family): NetlinkMessage {
  return { type: getPolicyRule, flags: 0, payload: Uint8Array.of(number, ...new Array(11).fill(0)) };
}

/** Decodes one RTM_NEWRULE. Conditions that {@link PolicyRule} cannot express set `hasMore`. */
export function decodePolicyRule(
  view: DataView,
  start: number,
  end: number,
  { addressBytes, format, makeCidr, read }: Family,
): PolicyRule {
  let [priority, table, target] = [0, view.getUint8(start + 4), 0];
  let source: Cidr | undefined;
  let destination: Cidr | undefined;
  let inInterface: string | undefined;
  let outInterface: string | undefined;
  let [mark, mask] = [0, 0];
  let hasMore = view.getUint8(start + 3) !== 0;
  let suppressedPrefix: number | undefined;
  let firstUser = 0;
  const u32 = (at: number) => view.getUint32(requirePayload(view, at, end, 4), true);
  const prefix = (at: number, length: number) =>
    makeCidr(format(read(view, requirePayload(view, at, end, addressBytes))), length);
  for (let at = start + ruleHeader; at < end; at = nextAttribute(view, at, end)) {
    switch (attributeType(view, at)) {
      case FRA_DST:
        destination = prefix(at, view.getUint8(start + 1));
        break;
      case FRA_SRC:
        source = prefix(at, view.getUint8(start + 2));
        break;
      case FRA_IIFNAME:
        inInterface = readText(view, payloadOf(at), attributeEnd(view, at, end));
        break;
      case FRA_OIFNAME:
        outInterface = readText(view, payloadOf(at), attributeEnd(view, at, end));
        break;
      case FRA_GOTO:
        target = u32(at);
        break;
      case FRA_PRIORITY:
        priority = u32(at);
        break;
      case FRA_TABLE:
        table = u32(at);
        break;
      case FRA_FWMARK:
        mark = u32(at);
        break;
      case FRA_FWMASK:
        mask = u32(at);
        break;
      case FRA_SUPPRESS_PREFIXLEN:
        if (u32(at) !== noSuppression) suppressedPrefix = u32(at);
        break;
      case FRA_UID_RANGE:
        firstUser = u32(at);
        break;
      case FRA_SUPPRESS_IFGROUP:
        hasMore ||= u32(at) !== noSuppression;
        break;
      case FRA_L3MDEV:
        hasMore ||= view.getUint8(payloadOf(at)) !== 0;
        break;
      case FRA_PAD:
      case FRA_FLOW:
      case FRA_PROTOCOL:
        break;
      default:
        hasMore = true;
    }
  }
  const isMarked = mark !== 0 || mask !== 0;
  const isInverted = (view.getUint32(start + 8, true) & FIB_RULE_INVERT) !== 0;
  const rule = {
    priority,
    // Forwarded packets count as those of root.
    action: firstUser > 0 && !isInverted ? nothing : actionOf(view.getUint8(start + 7), table, target),
    source,
    destination,
    inInterface,
    outInterface,
    isInverted,
    ...(suppressedPrefix !== undefined && { suppressedPrefix }),
    hasMore: hasMore || isMarked || firstUser > 0,
  };
  const more = `${isMarked ? ` fwmark 0x${mark.toString(16)}/0x${mask.toString(16)}` : ""}${hasMore ? " ..." : ""}`;
  const suppression = suppressedPrefix === undefined ? "" : ` suppress_prefixlength ${suppressedPrefix}`;
  return { ...rule, text: `${ruleText(rule, more)}${suppression}` };
}

const nothing: PolicyRule["action"] = { kind: "none" };

function actionOf(number: number, table: number, target: number): PolicyRule["action"] {
  if (number === lookupAction) return { kind: "lookup", table };
  if (number === gotoAction) return { kind: "goto", priority: target };
  return { kind: actions.get(number as 3) ?? "none" };
}

const tableNames = new Map([
  [255, "local"],
  [254, "main"],
  [253, "default"],
]);

/** `priority 100 from 10.0.1.5/32 iif eth0 lookup 100`, as `ip rule add` accepts it. */
function ruleText(rule: Omit<PolicyRule, "text">, more: string): string {
  const { priority, action, source, destination, inInterface, outInterface, isInverted } = rule;
  const parts = [
    `priority ${priority}`,
    ...(isInverted ? ["not"] : []),
    `from ${source ?? "all"}`,
    ...(destination === undefined ? [] : [`to ${destination}`]),
    ...(inInterface === undefined ? [] : [`iif ${inInterface}`]),
    ...(outInterface === undefined ? [] : [`oif ${outInterface}`]),
  ];
  return `${parts.join(" ")}${more} ${actionText(action)}`;
}

function actionText(action: PolicyRule["action"]): string {
  if (action.kind === "lookup") return `lookup ${tableNames.get(action.table) ?? action.table}`;
  return action.kind === "goto" ? `goto ${action.priority}` : action.kind;
}
