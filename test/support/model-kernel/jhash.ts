/** The kernel's hash of an address (include/linux/jhash.h), as the expression `jhash ip saddr mod n` takes it. */
import type { Ip } from "../../../lib/model/ip.ts";
import { toU32 } from "../../../lib/model/ipv4.ts";

/** A number from 0 to `modulus - 1`. */
export function hashOf(address: Ip, modulus: number, seed: number): number {
  return Number((BigInt(jhash(toU32(address), seed)) * BigInt(modulus)) >> 32n);
}

/** Of 4 bytes: the first is the highest of `value`. */
function jhash(value: number, seed: number): number {
  const start = (0xdeadbeef + 4 + seed) | 0;
  const reversed = (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
  let [a, b, c] = [(start + reversed) | 0, start, start];
  c = ((c ^ b) - rotated(b, 14)) | 0;
  a = ((a ^ c) - rotated(c, 11)) | 0;
  b = ((b ^ a) - rotated(a, 25)) | 0;
  c = ((c ^ b) - rotated(b, 16)) | 0;
  a = ((a ^ c) - rotated(c, 4)) | 0;
  b = ((b ^ a) - rotated(a, 14)) | 0;
  c = ((c ^ b) - rotated(b, 24)) | 0;
  return c >>> 0;
}

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
