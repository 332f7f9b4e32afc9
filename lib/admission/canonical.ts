/** The canonical form of full sets and specs, and comparison of them. */
import { recordOf, type Spec } from "../kinds/registry.ts";
import { collectionOf, type Kind, kinds } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import { canonicalGateway } from "./gateway.ts";
import { type FullSet, specsIn } from "./requests.ts";

/** A full set with every spec in canonical form. Values that the caller gave explicitly stay, including defaults. */
export interface CanonicalSet {
  readonly generation: number;
  readonly gateway: Gateway;
  /** In the order of the request. The position decides which of two objects is older. */
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
 * The input of a full set's digest: its content without the generation, each kind sorted by name. So the same set in
 * another order has the same digest. An empty optional kind is left out, so digests stored by versions without that
 * kind stay valid.
 *
 * @param set no name occurs twice in one array
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

/** Whether two canonical specs of one kind are equal. */
export function isSameSpec(one: Spec, other: Spec): boolean {
  return isSameValue(one, other);
}

function byName(one: Spec, other: Spec): number {
  return one.name < other.name ? -1 : one.name > other.name ? 1 : 0;
}

/** Structural equality of plain values. About ten times faster than comparing JSON texts. */
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
