/** One thing that takes input from outside the process, and how to try it with bad input. */
import { SchemaError } from "../../../agent/store/codec.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Random } from "./mutate.ts";

export type Input = string | Uint8Array;

export interface Target {
  readonly name: string;
  make(random: Random): Input;
  /** Takes the input. May refuse it by an error for which {@link isRefusal} is true; throws another one for a fault. */
  take(input: Input): void | Promise<void>;
  close?(): Promise<void>;
}

export function textTarget(
  name: string,
  make: (random: Random) => string,
  take: (text: string) => unknown,
): Target {
  return { name, make, take: (input) => void take(String(input)) };
}

/** `take` gets a view of the input, which does not begin at the start of its buffer. */
export function bytesTarget(
  name: string,
  make: (random: Random) => Uint8Array,
  take: (view: DataView, end: number) => unknown,
): Target {
  return {
    name,
    make,
    take: (input) => {
      const bytes = Buffer.from(input as Uint8Array);
      const buffer = new ArrayBuffer(bytes.length + 8);
      new Uint8Array(buffer).set(bytes, 8);
      take(new DataView(buffer, 8), bytes.length);
    },
  };
}

/**
 * Whether a parser that throws this refuses its input, instead of having a fault. Codecs of netlink leave the end of the
 * buffer to `DataView`.
 */
export function isRefusal(error: unknown): boolean {
  if (error instanceof GatewayError || error instanceof SchemaError) return true;
  return error instanceof RangeError && /outside the bounds of the DataView/.test(error.message);
}
