/** The smallest state for a journal in tests: a list that grows. */
import { type Codec, SchemaError } from "../../agent/store/codec.ts";

export type List = readonly number[];

export const listCodec: Codec<List, number> = {
  empty: [],
  format: 2,
  reduce: (state, changes) => [...state, ...changes],
  encodeState: (state) => state,
  encodeChanges: (changes) => changes,
  decodeState: numbers,
  decodeChanges: numbers,
  unrecognized: () => [],
};

function numbers(value: unknown): List {
  if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value;
  throw new SchemaError("not a list of numbers");
}
