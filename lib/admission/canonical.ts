/** Full sets and specs in canonical form, and what of them is compared. */
import { recordOf, type Spec } from "../kinds/registry.ts";
import { collectionOf, type Kind, kinds } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import { canonicalGateway } from "./gateway.ts";
import { type FullSet, specsIn } from "./requests.ts";

/** A full set, every spec in canonical form. What a caller said explicitly stays, a default included. */
export interface CanonicalSet {
  readonly generation: number;
  readonly gateway: Gateway;
  /** In the order of the request: positions decide who is elder. */
  specsOf(kind: Kind): readonly Spec[];
}

export function canonicalFullSet(set: FullSet): CanonicalSet {
  const specs = new Map(kinds.map((kind) => [kind, canonicalSpecs(set, kind)]));
  return {
    generation: set.generation,
    gateway: canonicalGateway(set.gateway ?? {}),
    specsOf: (kind) => specs.get(kind) ?? [],
  };
}

function canonicalSpecs(set: FullSet, kind: Kind): readonly Spec[] {
  const { canonical } = recordOf(kind);
  return specsIn(set, kind).map((spec) => canonical(spec));
}

/**
 * What a digest of a full set is taken of: its content without the generation, each kind sorted by name, so that
 * the same set in another order is the same content. A kind that may be left out is, where there is none of it: digests
 * that were stored before there was such a kind still hold.
 *
 * @param set no name twice in one array.
 */
export function contentText(set: CanonicalSet): string {
  const content: Record<string, unknown> = { gateway: set.gateway };
  for (const kind of kinds) {
    const specs = set.specsOf(kind);
    if (specs.length > 0 || !recordOf(kind).isOptionalInSet)
      content[collectionOf(kind)] = specs.toSorted(byName);
  }
  return JSON.stringify(content);
}

/** True where two canonical specs of one kind say the same. */
export function isSameSpec(one: Spec, other: Spec): boolean {
  return isSameValue(one, other);
}

function byName(one: Spec, other: Spec): number {
  return one.name < other.name ? -1 : one.name > other.name ? 1 : 0;
}

/** Structural equality of plain values; faster than comparing their texts by an order of magnitude. */
function isSameValue(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every(
      (key) => Object.hasOwn(other, key) && isSameValue(Reflect.get(one, key), Reflect.get(other, key)),
    )
  );
}
