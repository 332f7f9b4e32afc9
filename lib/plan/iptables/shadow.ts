/** Finds rules that get no packets because of an earlier rule. */
import { type MaskedAddress, type MaskedParts, maskedParts } from "../../iptables/masked.ts";
import type { Rule, RuleSpec } from "../../iptables/rule.ts";
import type { AddressValue, Family } from "../../model/family.ts";

const addressFields = ["source", "destination", "ctOriginalDestination"] as const;
type AddressField = (typeof addressFields)[number];

/**
 * The rules found so far on the path of a packet, by the first address that each matches. A lookup costs one step per
 * mask in use.
 */
export class ShadowIndex {
  readonly #family: Family;
  #opaque: Rule | undefined;
  /** Rules that match no address, by their text. */
  readonly #wide = new Map<string, Rule>();
  readonly #byAddress = new Map<AddressField, Map<AddressValue, Map<AddressValue, Rule[]>>>();

  constructor(family: Family) {
    this.#family = family;
  }

  get isEmpty(): boolean {
    return this.#opaque === undefined && this.#wide.size === 0 && this.#byAddress.size === 0;
  }

  add(rule: Rule): void {
    const { spec } = rule;
    if (spec === undefined) {
      this.#opaque ??= rule;
      return;
    }
    for (const field of addressFields) {
      const masked = spec[field];
      if (masked === undefined) continue;
      this.#bucket(field, masked).push(rule);
      return;
    }
    this.#wide.set(rule.text, rule);
  }

  /**
   * The first rule found so far that takes some of the packets of `rule`, such as one client of a network or one port
   * of a FIP. An opaque rule counts always, because its matches are unknown.
   */
  shadowOf(rule: Rule): Rule | undefined {
    if (this.#opaque !== undefined) return this.#opaque;
    const { spec } = rule;
    if (spec === undefined) return undefined;
    const takes = (earlier: Rule) =>
      earlier.spec !== undefined &&
      earlier.text !== rule.text &&
      canMatchSamePacket(earlier.spec, spec, this.#family);
    return this.#wide.values().find(takes) ?? this.#candidates(spec).find(takes);
  }

  /** Rules whose address can be one that `spec` matches. */
  *#candidates(spec: RuleSpec): Generator<Rule, undefined> {
    const { and, zero } = this.#family;
    const anyAddress: MaskedParts = { address: zero, mask: zero };
    for (const [field, byMask] of this.#byAddress) {
      const own = spec[field] === undefined ? anyAddress : maskedParts(spec[field], this.#family);
      for (const [mask, byValue] of byMask) {
        const isNarrower = and(mask, own.mask) !== mask;
        if (!isNarrower) yield* byValue.get(and(own.address, mask)) ?? [];
        else for (const rules of byValue.values()) yield* rules;
      }
    }
  }

  #bucket(field: AddressField, masked: MaskedAddress): Rule[] {
    const { address, mask } = maskedParts(masked, this.#family);
    const byMask = this.#byAddress.get(field) ?? new Map<AddressValue, Map<AddressValue, Rule[]>>();
    this.#byAddress.set(field, byMask);
    const byValue = byMask.get(mask) ?? new Map<AddressValue, Rule[]>();
    byMask.set(mask, byValue);
    const rules = byValue.get(address) ?? [];
    byValue.set(address, rules);
    return rules;
  }
}

/** False if no packet can match both. */
export function canMatchSamePacket(one: RuleSpec, other: RuleSpec, family: Family): boolean {
  return (
    addressFields.every((field) => haveCommon(one[field], other[field], family)) &&
    isAnyOrEqual(one.inInterface, other.inInterface) &&
    isAnyOrEqual(one.outInterface, other.outInterface) &&
    isAnyOrEqual(one.protocol, other.protocol) &&
    isAnyOrEqual(one.destinationPort, other.destinationPort)
  );
}

function haveCommon(
  one: MaskedAddress | undefined,
  other: MaskedAddress | undefined,
  family: Family,
): boolean {
  if (one === undefined || other === undefined) return true;
  const { and } = family;
  const a = maskedParts(one, family);
  const b = maskedParts(other, family);
  const mask = and(a.mask, b.mask);
  return and(a.address, mask) === and(b.address, mask);
}

function isAnyOrEqual(one: unknown, other: unknown): boolean {
  return one === undefined || other === undefined || one === other;
}
