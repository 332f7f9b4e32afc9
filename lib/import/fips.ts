/** Puts the halves of FIPs together. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { Ip } from "../model/ip.ts";
import type { FipHalf, Source } from "./read-rules.ts";

/** Takes a few milliseconds. */
const joinedAtOnce = 4_000;

/**
 * The FIPs, and before others of the same internal IP the one that is used outwards: it is the oldest. A FIP of which one half is
 * missing is one all the same; the next pass adds the other half.
 * @param skip called for what is no half of a FIP
 */
export function* fipsOf(
  inward: readonly FipHalf[],
  outward: readonly FipHalf[],
  skip: (source: Source, why: string) => void,
): Chunked<readonly FipHalf[]> {
  const byEip = new Map<Ip, FipHalf>();
  const isDue = everyNth(joinedAtOnce);
  for (const half of inward) {
    if (isDue()) yield;
    if (byEip.has(half.eip)) skip(half.source, `an earlier rule has the EIP ${half.eip}`);
    else byEip.set(half.eip, half);
  }
  const eipOf = new Map<Ip, Ip>();
  for (const half of outward) {
    if (isDue()) yield;
    const { eip, internalIp, source } = half;
    const other = byEip.get(eip);
    if (eipOf.has(internalIp)) skip(source, `an earlier rule has the internal IP ${internalIp}`);
    else if (other !== undefined && other.internalIp !== internalIp)
      skip(source, `${eip} leads to ${other.internalIp}, not to ${internalIp}`);
    else {
      eipOf.set(internalIp, eip);
      if (other === undefined) byEip.set(eip, half);
    }
  }
  const [outwards, others]: [FipHalf[], FipHalf[]] = [[], []];
  for (const half of byEip.values()) {
    if (isDue()) yield;
    const isOutward = eipOf.get(half.internalIp) === half.eip;
    (isOutward ? outwards : others).push(half);
  }
  return [...outwards, ...others];
}
