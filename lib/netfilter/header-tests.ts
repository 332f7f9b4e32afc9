/** Tests of header fields, from the numbers that the kernel has for them. */
import type { NameTest, RangeTest } from "./chain.ts";
import { protocolName } from "./iptables-chains.ts";

export function protocolTest(number: number): NameTest {
  return { field: "protocol", names: [protocolName(String(number))], isInverted: false };
}

/** @returns `undefined` if the bits of `mask` are not those of a prefix of `bits` bits */
export function prefixTest(
  field: RangeTest["field"],
  mask: number,
  value: number,
  bits: 16 | 32 = 32,
): RangeTest | undefined {
  const rest = (~mask >>> 0) & (bits === 16 ? 0xffff : -1);
  // A prefix has no gaps.
  if ((rest & (rest + 1)) !== 0) return undefined;
  const from = (value & mask) >>> 0;
  return { field, ranges: [[from, from + (rest >>> 0)]], isInverted: false };
}
