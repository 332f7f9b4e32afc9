/** Reads records of one schema. Fields that only a newer version knows are kept apart. */

import type { TSchema } from "typebox";
import { Compile, type Validator } from "typebox/compile";
import type { JsonObject } from "../../lib/state/unrecognized.ts";
import { SchemaError } from "./codec.ts";
import { isJsonObject } from "./json.ts";

export interface ReadRecord<T> {
  readonly known: T;
  /** The record as it was, where it has fields that are not known. */
  readonly whole?: JsonObject;
}

export class RecordReader<T> {
  readonly #schema: TSchema;
  readonly #what: string;
  #validator: Validator | undefined;

  /** @param schema closed: it refuses fields that it does not name, at any depth; its type is `T` */
  constructor(schema: TSchema, what: string) {
    this.#schema = schema;
    this.#what = what;
  }

  /** Throws a {@link SchemaError} where a known field is missing or has a value that it cannot have. */
  read(value: unknown): ReadRecord<T> {
    if (this.#isKnown(value)) return { known: value };
    const known = this.#knownPart(value);
    if (isJsonObject(value) && this.#isKnown(known)) return { known, whole: value };
    const [first] = this.#checks.Errors(known);
    throw new SchemaError(`${this.#what} not of the schema: ${first?.instancePath} ${first?.message}`);
  }

  /** Paths of the fields that are not known: `.spec.bound`. */
  unknownFields(whole: JsonObject): readonly string[] {
    return [...missing(whole, this.#knownPart(whole), "")];
  }

  #isKnown(value: unknown): value is T {
    return this.#checks.Check(value);
  }

  #knownPart(value: unknown): unknown {
    return this.#checks.Clean(structuredClone(value));
  }

  /** Made at its first use: most states have few of the records that there could be. */
  get #checks(): Validator {
    this.#validator ??= Compile(this.#schema);
    return this.#validator;
  }
}

/** Paths of what `whole` has and `known` has not. */
function* missing(whole: unknown, known: unknown, path: string): Generator<string> {
  if (Array.isArray(whole) && Array.isArray(known)) {
    for (const [index, item] of whole.entries()) yield* missing(item, known[index], `${path}[*]`);
  } else if (isJsonObject(whole) && isJsonObject(known)) {
    for (const [name, value] of Object.entries(whole)) {
      if (Object.hasOwn(known, name)) yield* missing(value, known[name], `${path}.${name}`);
      else yield `${path}.${name}`;
    }
  }
}
