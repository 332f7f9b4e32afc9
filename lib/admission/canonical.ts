/** The canonical form of full sets and specs, and comparison of them. */
import { type Chunked, everyNth, sortChunked } from "../chunked.ts";
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

export function* canonicalFullSet(set: FullSet): Chunked<CanonicalSet> {
  const specs = new Map<Kind, readonly Spec[]>();
  for (const kind of kinds) specs.set(kind, yield* canonicalSpecs(set, kind));
  return {
    generation: set.generation,
    gateway: canonicalGateway(set.gateway ?? {}),
    specsOf: (kind) => specs.get(kind) ?? [],
  };
}

/** One object can have hundreds of backends. */
const handledAtOnce = 500;

function* canonicalSpecs(set: FullSet, kind: Kind): Chunked<readonly Spec[]> {
  const { canonical } = recordOf(kind);
  const specs: Spec[] = [];
  const isDue = everyNth(handledAtOnce);
  for (const spec of specsIn(set, kind)) {
    if (isDue()) yield;
    specs.push(canonical(spec));
  }
  return specs;
}

/**
 * The input of a full set's digest: its content without the generation, each kind sorted by name. So the same set in
 * another order has the same digest. An empty optional kind is left out, so digests stored by versions without that
 * kind stay valid.
 *
 * @param set no name occurs twice in one array
 */
export function* contentText(set: CanonicalSet): Chunked<string> {
  const members = [`"gateway":${JSON.stringify(set.gateway)}`];
  for (const kind of kinds) {
    const specs = set.specsOf(kind);
    if (specs.length === 0 && recordOf(kind).isOptionalInSet) continue;
    const sorted = yield* sortChunked(specs, byName);
    const texts: string[] = [];
    for (let from = 0; from < sorted.length; from += handledAtOnce) {
      texts.push(JSON.stringify(sorted.slice(from, from + handledAtOnce)).slice(1, -1));
      yield;
    }
    members.push(`"${collectionOf(kind)}":[${texts.join(",")}]`);
  }
  return `{${members.join(",")}}`;
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
