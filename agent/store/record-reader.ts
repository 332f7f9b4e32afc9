/** Reads records of one schema. Fields that only a newer version knows are kept separately. */

import type { TSchema } from "typebox";
import { Compile, type Validator } from "typebox/compile";
import type { JsonObject } from "../../lib/state/unrecognized.ts";
import { SchemaError } from "./codec.ts";
import { isJsonObject } from "./json.ts";

export interface ReadRecord<T> {
  readonly known: T;
  /** The record as stored, if it has unknown fields. */
  readonly whole?: JsonObject;
}

export class RecordReader<T> {
  readonly #schema: TSchema;
  readonly #what: string;
  #validator: Validator | undefined;

  /** @param schema refuses unknown fields at any depth (`additionalProperties: false`); its static type is `T` */
  constructor(schema: TSchema, what: string) {
    this.#schema = schema;
    this.#what = what;
  }

  /** Throws {@link SchemaError} if a known field is missing or has an invalid value. */
  read(value: unknown): ReadRecord<T> {
    if (this.#isKnown(value)) return { known: value };
    const known = this.#knownPart(value);
    if (isJsonObject(value) && this.#isKnown(known)) return { known, whole: value };
    const [first] = this.#checks.Errors(known);
    throw new SchemaError(
      `${this.#what} does not match the schema: ${first?.instancePath} ${first?.message}`,
    );
  }

  /** Paths of the unknown fields, such as `.spec.bound`. */
  unknownFields(whole: JsonObject): readonly string[] {
    return [...missing(whole, this.#knownPart(whole), "")];
  }

  #isKnown(value: unknown): value is T {
    return this.#checks.Check(value);
  }

  #knownPart(value: unknown): unknown {
    return this.#checks.Clean(structuredClone(value));
  }

  /** Created at first use: most states use few of the record types. */
  get #checks(): Validator {
    this.#validator ??= Compile(this.#schema);
    return this.#validator;
  }
}

/** Paths of the fields that `whole` has and `known` does not have. */
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
