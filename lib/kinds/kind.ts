/**
 * The contract of a kind: everything that the program knows of it, as one record. Admission, compiler, API and OpenAPI
 * document loop over the records, so that a new kind is its name in `names.ts`, a record, and its lines in `registry.ts`.
 */

import { type TObject, type TProperties, Type } from "typebox";
import type { InputIssue } from "../model/errors.ts";
import type { Ip } from "../model/ip.ts";
import type { Kind, ObjectId, ObjectName, Uid } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import { ObjectNameSchema, UidSchema } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";
import type { Clash, ClashContext } from "./clash.ts";
import type { Compilation } from "./compilation.ts";

/** `S` is the spec as its schema has it, `P` the spec with its parts as every pass needs them. */
export interface KindRecord<K extends Kind, S extends AnySpec, P extends Parsed<S>> {
  readonly kind: K;
  /** As a custom resource's kind is written: `"Eip"`. */
  readonly title: string;
  /** The only source of the spec's type, of the API's validation and of the OpenAPI document. */
  readonly schema: TObject;
  /**
   * True of a kind whose array a full set may leave out, as controllers do that are older than the kind: none of it is desired
   * then. Where there is none of it, a set that is read leaves it out as well.
   */
  readonly isOptionalInSet?: boolean;
  /** The one form in which a spec is stored, shown and compared. Expects a spec that its schema has passed. */
  canonical(spec: S): S;
  /** What the schema cannot say: values that no gateway could program. Pointers are relative to the spec. */
  issues(spec: S): readonly InputIssue[];

  /** The name of the Eip that the object refers to; absent or `undefined`: to none. */
  eipOf?(spec: S): ObjectName | undefined;
  /** Seconds for which the object stays in force after a sign of life; absent or `undefined`: for good. */
  leaseSeconds?(spec: S): number | undefined;
  /**
   * Another tie between objects of this kind than a common Eip: a change of one can change what is compiled of all others that
   * give the same text. `undefined`: there is none. Absent: a change of this kind concerns every object, and is left
   * to a pass over everything.
   */
  tie?(spec: S): string | undefined;

  /** The objects of a collection, in its order; remembered for as long as the collection lives. */
  parseAll(objects: ReadonlyMap<ObjectName, Stored<S>>): readonly P[];
  /** What the object claims for itself: of two objects of this kind with one text the younger clashes. */
  identity(spec: S, context: ClashContext): string;
  /** The same in words that the holder's name follows: `"eip eip-a carries"`. */
  holding(spec: S): string;
  /** A clash with the gateway itself, whatever else is stored. */
  obstacle?(parsed: P, context: ClashContext): Clash | undefined;

  /** True of a kind that translates packets: its objects are not Ready while the gateway forwards none. */
  readonly isTranslating: boolean;
  /**
   * The kind's part of the program. Each object comes out in exactly one place: in the part, in `compilation.blocked` or
   * in `compilation.idle`. The kinds are compiled in their order: Eips first.
   */
  compile(objects: readonly P[], compilation: Compilation): Partial<Program>;

  /** One line for people: `"FIP 203.0.113.10 ↔ 10.0.1.5"`. An Eip that `addressOf` does not know is shown by its name. */
  verbalize(spec: S, addressOf: AddressOf): string;
}

export type AddressOf = (eip: ObjectName) => Ip | undefined;

/** What the specs of all kinds have in common. */
export interface AnySpec {
  readonly name: ObjectName;
  readonly uid?: Uid;
}

export interface Parsed<S extends AnySpec> {
  readonly id: ObjectId;
  readonly spec: S;
  /** What the object claims for itself, unless that depends on the gateway. */
  readonly identity?: string;
}

/** A kind's schema: its fields beside `name` and `uid`, and nothing else. */
export function specSchema<P extends TProperties>(fields: P) {
  return Type.Object(
    { name: ObjectNameSchema, uid: Type.Optional(UidSchema), ...fields },
    { additionalProperties: false },
  );
}

/** What a canonical spec begins with. */
export function namesOf({ name, uid }: AnySpec): AnySpec {
  return uid === undefined ? { name } : { name, uid };
}

/**
 * A function that parses a collection once: collections are immutable, and most passes find the one that the last
 * pass had.
 */
export function parseOnce<S, P>(parse: (spec: S) => P) {
  const known = new WeakMap<ReadonlyMap<ObjectName, Stored<S>>, readonly P[]>();
  return (objects: ReadonlyMap<ObjectName, Stored<S>>): readonly P[] => {
    const before = known.get(objects);
    if (before !== undefined) return before;
    const parsed = Array.from(objects.values(), ({ spec }) => parse(spec));
    known.set(objects, parsed);
    return parsed;
  };
}
