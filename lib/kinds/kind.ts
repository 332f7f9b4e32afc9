/**
 * The contract of a kind: one record with everything that the program knows about it. Admission, the compiler, the API
 * and the OpenAPI document loop over these records. docs/adding-a-subsystem.md lists what a new
 * kind needs.
 */

import { type TObject, type TProperties, Type } from "typebox";
import { type Chunked, everyNth } from "../chunked.ts";
import type { InputIssue } from "../model/errors.ts";
import type { Ip } from "../model/ip.ts";
import type { Kind, ObjectId, ObjectName, Uid } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import { ObjectNameSchema, UidSchema } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";
import type { Clash, ClashContext } from "./clash.ts";
import type { Compilation } from "./compilation.ts";

/** `S` is the spec as the schema defines it. `P` is the spec with its fields parsed for use in every pass. */
export interface KindRecord<K extends Kind, S extends AnySpec, P extends Parsed<S>> {
  readonly kind: K;
  /** The name as in a custom resource: `"Eip"`. */
  readonly title: string;
  /** The only source of the spec's type, the API's validation and the OpenAPI document. */
  readonly schema: TObject;
  /**
   * True if a full set may leave out the array of this kind, as controllers older than the kind do. A missing array
   * means that no object is desired. A set without such objects is also returned without the array.
   */
  readonly isOptionalInSet?: boolean;
  /** The canonical form, in which a spec is stored, shown and compared. Expects a spec that passed its schema. */
  canonical(spec: S): S;
  /** Errors that a schema cannot express: values that no gateway can program. Pointers are relative to the spec. */
  issues(spec: S): readonly InputIssue[];

  /** The name of the Eip that the object refers to. Absent or `undefined`: it refers to none. */
  eipOf?(spec: S): ObjectName | undefined;
  /** Seconds until the object's lease expires after a renewal. Absent or `undefined`: it has no lease. */
  leaseSeconds?(spec: S): number | undefined;
  /**
   * For a FIP its internal IP: two FIPs with one internal IP are coupled, so a change of one can change how the other is
   * compiled. Objects of this kind with the same key are coupled, besides those of a common Eip. `undefined`: with none.
   * If the function is absent, a change of this kind needs a full pass, and a change of FIPs or DNATs alone cannot affect
   * its objects.
   */
  couplingKey?(spec: S): string | undefined;

  /** The parsed objects of a collection, in its order. Cached for the lifetime of the collection. */
  parseAll(objects: ReadonlyMap<ObjectName, Stored<S>>): Chunked<readonly P[]>;
  /** What the object claims. If two objects of this kind claim the same text, the newer one clashes. */
  identity(spec: S, context: ClashContext): string;
  /** The same, for kinds whose claim the spec alone decides. Absent: it depends on the gateway too. */
  ownIdentity?(spec: S): string;
  /** The claim as text that the holder's name completes: `"eip eip-a is already used by"`. */
  holding(spec: S): string;
  /** A clash with the gateway itself, independent of other objects. */
  obstacle?(parsed: P, context: ClashContext): Clash | undefined;

  /** True if the kind translates packets. Its objects are not Ready while the gateway does not forward. */
  readonly isTranslating: boolean;
  /**
   * The kind's part of the program. Each object ends in exactly one place: in this part, in `compilation.blocked` or in
   * `compilation.idle`; an unbound Eip is in the first two. Kinds are compiled in their order, Eips first.
   */
  compile(objects: readonly P[], compilation: Compilation): Chunked<Partial<Program>>;

  /**
   * One line for people: `"FIP 203.0.113.10 ↔ 10.0.1.5"`. If `addressOf` does not know the Eip, the text has its name.
   */
  verbalize(spec: S, addressOf: AddressOf): string;
}

export type AddressOf = (eip: ObjectName) => Ip | undefined;

/** The fields that all specs have. */
export interface AnySpec {
  readonly name: ObjectName;
  readonly uid?: Uid;
}

export interface Parsed<S extends AnySpec> {
  readonly id: ObjectId;
  readonly spec: S;
  /** What the object claims, unless that depends on the gateway. */
  readonly identity?: string;
}

/** The schema of a kind: `name`, `uid` and `fields`, nothing else. */
export function specSchema<P extends TProperties>(fields: P) {
  return Type.Object(
    { name: ObjectNameSchema, uid: Type.Optional(UidSchema), ...fields },
    { additionalProperties: false },
  );
}

/** The fields at the start of every canonical spec. */
export function namesOf({ name, uid }: AnySpec): AnySpec {
  return uid === undefined ? { name } : { name, uid };
}

/** Takes a few milliseconds. */
const parsedAtOnce = 2_000;
/** Objects that a kind compiles in one part. Takes a few milliseconds. */
export const compiledAtOnce = 4_000;

/**
 * Makes a function that parses a collection once. Collections are immutable, and most passes see the same collection as
 * the last pass.
 */
export function parseOnce<S, P>(parse: (spec: S) => P) {
  const known = new WeakMap<ReadonlyMap<ObjectName, Stored<S>>, readonly P[]>();
  return function* (objects: ReadonlyMap<ObjectName, Stored<S>>): Chunked<readonly P[]> {
    const before = known.get(objects);
    if (before !== undefined) return before;
    const parsed: P[] = [];
    const isDue = everyNth(parsedAtOnce);
    for (const { spec } of objects.values()) {
      if (isDue()) yield;
      parsed.push(parse(spec));
    }
    known.set(objects, parsed);
    return parsed;
  };
}
