import type { Chunked } from "../../lib/chunked.ts";

/** What the journal needs to know about the state it stores. The journal is generic over both types. */
export interface Codec<State, Change> {
  /** The state before the first write. */
  readonly empty: State;
  /** The format number that this codec writes. It reads all formats from 1 to this one. */
  readonly format: number;
  /** Returns the state after `changes`, applied in order. Does not modify `state`. */
  reduce(state: State, changes: readonly Change[]): State;
  /** Encodes as a JSON value. {@link decodeState} turns it into an equal state. */
  encodeState(state: State): unknown;
  /** The same in parts. Only needed if {@link encodeState} takes long. */
  encodeStateChunked?(state: State): Chunked<unknown>;
  /** Encodes as JSON values. {@link decodeChanges} turns an array of them into changes with the same effect. */
  encodeChanges(changes: readonly Change[]): readonly unknown[];
  /** Throws {@link SchemaError} if the value does not match the schema of `format`. */
  decodeState(value: unknown, format: number): State;
  /** Throws {@link SchemaError} if the value does not match the schema. */
  decodeChanges(value: unknown): readonly Change[];
  /** Parts of the state that a newer version wrote. This version keeps them but does not understand them. */
  unrecognized(state: State): readonly UnrecognizedPart[];
}

/** Where the stored state has something unknown, as a JSONPath (`objects.eips[*].spec.bound`), and how often. */
export interface UnrecognizedPart {
  readonly path: string;
  readonly count: number;
}

/** The checksum is right, but this version does not understand the value. */
export class SchemaError extends Error {
  override readonly name = "SchemaError";
}
