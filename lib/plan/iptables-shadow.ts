/** Finds rules that an earlier rule keeps every packet from. */
import { type MaskedAddress, maskedParts } from "../iptables/masked.ts";
import type { Rule, RuleSpec } from "../iptables/rule.ts";

const addressFields = ["source", "destination", "ctOriginalDestination"] as const;
type AddressField = (typeof addressFields)[number];

/** Rules found so far on the way of a packet, by the first address that each asks for: a look-up costs one per mask in use. */
export class ShadowIndex {
  #opaque: Rule | undefined;
  /** Rules that ask for no address, by their text. */
  readonly #wide = new Map<string, Rule>();
  readonly #byAddress = new Map<AddressField, Map<number, Map<number, Rule[]>>>();

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

  /** The first rule found that takes all that `rule` would; an opaque one counts, as nobody knows what it takes. */
  coverOf(rule: Rule): Rule | undefined {
    if (this.#opaque !== undefined) return this.#opaque;
    const { spec } = rule;
    if (spec === undefined) return undefined;
    const takes = (earlier: Rule) =>
      earlier.spec !== undefined && earlier.text !== rule.text && covers(earlier.spec, spec);
    return this.#wide.values().find(takes) ?? this.#near(spec).find(takes);
  }

  *#near(spec: RuleSpec): Generator<Rule, undefined> {
    for (const [field, byMask] of this.#byAddress) {
      const masked = spec[field];
      if (masked === undefined) continue;
      const { address } = maskedParts(masked);
      for (const [mask, byValue] of byMask) yield* byValue.get((address & mask) >>> 0) ?? [];
    }
  }

  #bucket(field: AddressField, masked: MaskedAddress): Rule[] {
    const { address, mask } = maskedParts(masked);
    const byMask = this.#byAddress.get(field) ?? new Map<number, Map<number, Rule[]>>();
    this.#byAddress.set(field, byMask);
    const byValue = byMask.get(mask) ?? new Map<number, Rule[]>();
    byMask.set(mask, byValue);
    const rules = byValue.get(address) ?? [];
    byValue.set(address, rules);
    return rules;
  }
}

/** True where every packet that `inner` matches is matched by `outer`. */
export function covers(outer: RuleSpec, inner: RuleSpec): boolean {
  return (
    outer.probability === undefined &&
    addressFields.every((field) => holds(outer[field], inner[field])) &&
    isWider(outer.inInterface, inner.inInterface) &&
    isWider(outer.outInterface, inner.outInterface) &&
    isWider(outer.protocol, inner.protocol) &&
    isWider(outer.destinationPort, inner.destinationPort) &&
    isWider(outer.ctState, inner.ctState) &&
    isWider(outer.mark?.value, inner.mark?.value) &&
    isWider(outer.mark?.mask, inner.mark?.mask)
  );
}

function holds(outer: MaskedAddress | undefined, inner: MaskedAddress | undefined): boolean {
  if (outer === undefined) return true;
  if (inner === undefined) return false;
  const wide = maskedParts(outer);
  const narrow = maskedParts(inner);
  return (wide.mask & ~narrow.mask) === 0 && (narrow.address & wide.mask) >>> 0 === wide.address;
}

function isWider(outer: unknown, inner: unknown): boolean {
  return outer === undefined || outer === inner;
}
