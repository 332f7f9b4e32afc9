/** Rates and bursts as the parameters of classes. */
import type { ProgramLimit } from "../../model/program.ts";
import type { RateLimit } from "../../nftables/expressions.ts";
import { bytesOf, type HtbClass, ticksOf } from "../../tc/htb-class.ts";

/** Without a limit: 1 Tbit/s in bytes a second. */
export const unlimited = 125_000_000_000;
/** The guaranteed `rate` of a class whose siblings' limits together exceed the parent's. */
const smallRate = 1_000;
/** Burst of a class with a small rate, and the least burst of any other class. */
const smallBurst = 65_536;
/** Of the rate in the time of a default burst. */
const burstSeconds = 0.001;
/** A policer needs more: what is too much is lost at once. */
const policeBurst = 131_072;
const policeBurstSeconds = 0.02;
/** The most of rate + burst of a policer: the kernel multiplies the sum by 10^9 in 64 bits. */
const maxTokens = 18_446_744_073;
/** The queue of a class, as time at its rate. */
const queueSeconds = 0.05;
const smallQueue = 65_536;
/** The size of a bfifo has 32 bits. */
const maxU32 = 0xffffffff;
/** Bytes a turn of one limit, and of all traffic without a limit of its own. */
const quantumOfLimit = 3_000;
const quantumOfRest = 30_000;
const quantumOfInner = 60_000;

export type Limited = Pick<ProgramLimit, "rate" | "burst">;

/** A class that holds others. */
export function innerClass(minor: number, parent: number, limit: Limited, isAssured: boolean): HtbClass {
  return { ...classOf(minor, parent, limit, isAssured), quantum: quantumOfInner };
}

/** The class of a limit. */
export function leafClass(minor: number, parent: number, limit: Limited, isAssured: boolean): HtbClass {
  return { ...classOf(minor, parent, limit, isAssured), quantum: quantumOfLimit };
}

/** The class of what has no limit of its own below a limit. */
export function restClass(minor: number, parent: number, limit: Limited): HtbClass {
  return { ...classOf(minor, parent, limit, false), quantum: quantumOfRest };
}

/**
 * @param isAssured true if all children of the parent together may send at their limits. A class sends at `rate` whatever
 * its parent sends, so otherwise the parent's limit would not hold, and `rate` is small.
 */
function classOf(
  minor: number,
  parent: number,
  { rate: ceil, burst = defaultBurst(ceil) }: Limited,
  isAssured: boolean,
): Omit<HtbClass, "quantum"> {
  const rate = isAssured ? ceil : Math.min(ceil, smallRate);
  const buffer = ticksOf(isAssured ? burst : smallBurst, rate);
  return { minor, parent, rate, ceil, buffer, ceilBuffer: ticksOf(burst, ceil) };
}

/** The limit that a class was made for, and whether one with another burst would be the same class. */
export interface FoundLimit extends Limited {
  isSameBurst(bytes: number): boolean;
}

/** The inverse of {@link leafClass} and {@link restClass}. */
export function limitOfClass({ ceil, ceilBuffer }: Pick<HtbClass, "ceil" | "ceilBuffer">): FoundLimit {
  const isSameBurst = (bytes: number) => ticksOf(bytes, ceil) === ceilBuffer;
  if (isSameBurst(defaultBurst(ceil))) return { rate: ceil, isSameBurst };
  return { rate: ceil, burst: bytesOf(ceilBuffer, ceil), isSameBurst };
}

/** A limit that tc set, which cuts bursts to microseconds. The burst is in ticks. */
export function limitOfTool({ rate, burst }: RateLimit): FoundLimit {
  const isSameBurst = (bytes: number) => Math.abs(ticksOf(bytes, rate) - burst) <= ticksPerMicrosecond;
  return { rate, burst: bytesOf(burst, rate), isSameBurst };
}

const ticksPerMicrosecond = 16;

/** The inverse of {@link policeLimit}. */
export function limitOfPolicer({ rate, burst }: RateLimit): FoundLimit {
  const isSameBurst = (bytes: number) => policeLimit({ rate, burst: bytes }).burst === burst;
  return isSameBurst(0) ? { rate, isSameBurst } : { rate, burst, isSameBurst };
}

function defaultBurst(rate: number): number {
  return Math.max(smallBurst, Math.round(rate * burstSeconds));
}

/** The size of the queue of a class with this limit, in bytes. */
export function queueBytes({ rate }: Limited): number {
  return Math.min(Math.max(smallQueue, Math.round(rate * queueSeconds)), maxU32);
}

/** The limit for dropping instead of queueing: the same, or the highest that the kernel takes. */
export function policeLimit({ rate, burst = 0 }: Limited): RateLimit {
  const allowed = Math.max(burst, policeBurst, Math.round(rate * policeBurstSeconds));
  return { rate: Math.min(rate, maxTokens - allowed), burst: allowed };
}
