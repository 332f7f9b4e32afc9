/**
 * An iptables rule as a value. The kernel changes the text of a rule: it adds /32, drops 0.0.0.0/0, masks host bits,
 * reorders matches, and moves --random-fully to the end. So rules are compared by a canonical text that depends only on
 * their meaning.
 */
import { assertNever } from "../assert-never.ts";
import { familyOf } from "../model/families.ts";
import type { Ip } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { Protocol } from "../model/schema.ts";
import { bareText, isAnyAddress, type MaskedAddress } from "./masked.ts";

export const tableNames = ["nat", "mangle", "filter"] as const;
/** The tables in which the agent owns chains or rules. */
export type TableName = (typeof tableNames)[number];

/** A mark and its mask, both unsigned 32-bit integers. */
export interface Mark {
  readonly value: number;
  readonly mask: number;
}

export type Target =
  | { readonly kind: "dnat"; readonly to: Ip; readonly port: number | undefined }
  | { readonly kind: "snat"; readonly to: Ip; readonly isRandom: boolean }
  /** `--set-xmark value/mask`: clears the bits of the mask, then XORs the value. */
  | { readonly kind: "mark"; readonly mark: Mark }
  | { readonly kind: "drop" }
  /** A jump to a chain, or a target without options such as RETURN. */
  | { readonly kind: "jump"; readonly chain: string };

/** The matches and targets that the agent uses. An absent match matches everything. */
export interface RuleSpec {
  readonly source?: MaskedAddress | undefined;
  readonly destination?: MaskedAddress | undefined;
  readonly inInterface?: InterfaceName | undefined;
  readonly outInterface?: InterfaceName | undefined;
  readonly protocol?: Protocol | undefined;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
  readonly mark?: Mark | undefined;
  readonly ctState?: CtState | undefined;
  readonly ctOriginalDestination?: MaskedAddress | undefined;
  /** In the nat table all packets have it. */
  readonly ctDirection?: "ORIGINAL" | undefined;
  /** `statistic --mode random`, in units of 2^-31, as the kernel stores it. */
  readonly probability?: number | undefined;
  readonly target: Target;
}

export const ctStates = ["DNAT", "INVALID"] as const;
export type CtState = (typeof ctStates)[number];

/** Probability 1 in units of {@link RuleSpec.probability}: the match always holds. */
export const certainty = 2 ** 31;

/** A rule without its chain. Two rules have the same meaning exactly if their `text` is equal. */
export interface Rule {
  /** Canonical text. For an opaque rule its raw text. */
  readonly text: string;
  /** The text as read. `-D` needs it, because the tools compare matches in order. */
  readonly raw: string;
  /** `undefined` for an opaque rule: it uses matches or targets that the agent never writes. */
  readonly spec: RuleSpec | undefined;
}

/** A rule that the agent writes. Matches that accept every address are left out. */
export function makeRule(given: RuleSpec): Rule {
  const spec = isAnyAddress(given.source) ? { ...given, source: undefined } : given;
  const text = ruleText(spec);
  return { text, raw: text, spec };
}

/** A jump without conditions. */
export function jumpTo(chain: string): Rule {
  return makeRule({ target: jumpTarget(chain) });
}

export function jumpTarget(chain: string) {
  return { kind: "jump", chain } as const;
}

/**
 * The canonical text, in the order in which iptables-save prints the agent's rules. The probability of a backend stands
 * before the port: tools search for `--dport N -j DNAT`, and the position of a random match does not matter.
 */
export function ruleText(spec: RuleSpec): string {
  // Joined: V8 keeps a text made by + in pieces, which take as much memory again.
  const parts: string[] = [];
  if (spec.source !== undefined) parts.push(`-s ${spec.source} `);
  if (spec.destination !== undefined) parts.push(`-d ${spec.destination} `);
  if (spec.inInterface !== undefined) parts.push(`-i ${spec.inInterface} `);
  if (spec.outInterface !== undefined) parts.push(`-o ${spec.outInterface} `);
  if (spec.protocol !== undefined) parts.push(`-p ${spec.protocol} `);
  if (spec.mark !== undefined) parts.push(`-m mark --mark ${markText(spec.mark)} `);
  parts.push(conntrackText(spec));
  if (spec.probability !== undefined)
    parts.push(`-m statistic --mode random --probability ${(spec.probability / certainty).toFixed(11)} `);
  if (spec.sourcePort !== undefined) parts.push(`-m ${spec.protocol} --sport ${spec.sourcePort} `);
  if (spec.destinationPort !== undefined) parts.push(`-m ${spec.protocol} --dport ${spec.destinationPort} `);
  parts.push(targetText(spec.target));
  return parts.join("");
}

function conntrackText({ ctState, ctOriginalDestination: destination, ctDirection }: RuleSpec): string {
  let text = "";
  if (ctState !== undefined) text += `--ctstate ${ctState} `;
  if (destination !== undefined) text += `--ctorigdst ${bareText(destination)} `;
  if (ctDirection !== undefined) text += `--ctdir ${ctDirection} `;
  return text === "" ? "" : `-m conntrack ${text}`;
}

function markText({ value, mask }: Mark): string {
  return mask === 0xffffffff ? `0x${value.toString(16)}` : `0x${value.toString(16)}/0x${mask.toString(16)}`;
}

function endpointText({ to, port }: Extract<Target, { kind: "dnat" }>): string {
  return port === undefined ? to : familyOf(to).endpoint(to, port);
}

function targetText(target: Target): string {
  switch (target.kind) {
    case "dnat":
      return `-j DNAT --to-destination ${endpointText(target)}`;
    case "snat":
      return `-j SNAT --to-source ${target.to}${target.isRandom ? " --random-fully" : ""}`;
    case "mark":
      return `-j MARK --set-xmark 0x${target.mark.value.toString(16)}/0x${target.mark.mask.toString(16)}`;
    case "drop":
      return "-j DROP";
    case "jump":
      return `-j ${target.chain}`;
    default:
      return assertNever(target);
  }
}
