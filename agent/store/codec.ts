/** What the journal must know of the state that it holds; it is generic over both types. */
export interface Codec<State, Change> {
  /** The state that was never written. */
  readonly empty: State;
  /** The format that it writes; it reads every one from 1 up to this. */
  readonly format: number;
  /** The state after `changes`, in their order; the old state is left as it is. */
  reduce(state: State, changes: readonly Change[]): State;
  /** As a JSON value that {@link decodeState} turns into an equal state. */
  encodeState(state: State): unknown;
  /** As JSON values, an array of which {@link decodeChanges} turns into changes with the same effect. */
  encodeChanges(changes: readonly Change[]): readonly unknown[];
  /** Throws a {@link SchemaError} where the value is not of the schema of `format`. */
  decodeState(value: unknown, format: number): State;
  /** Throws a {@link SchemaError} where the value is not of the codec's schema. */
  decodeChanges(value: unknown): readonly Change[];
  /** What a newer version stored in the state that this one keeps and does not understand. */
  unrecognized(state: State): readonly UnrecognizedPart[];
}

/** Where in the stored state something is not understood, as a JSONPath: `objects.eips[*].spec.bound`; and how often. */
export interface UnrecognizedPart {
  readonly path: string;
  readonly count: number;
}

/** A value with a right checksum that means nothing to this version. */
export class SchemaError extends Error {
  override readonly name = "SchemaError";
}
