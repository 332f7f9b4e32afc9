/** What statements of nft do to packets. */
import type { Effect } from "./chain.ts";

export const rewrites: Effect = { kind: "harm", verb: "rewrites" };
export const mayRewrite: Effect = { kind: "harm", verb: "rewrites", isMaybe: true };
export const mayNotTrack: Effect = { kind: "harm", verb: "does not track", isMaybe: true };
const drops: Effect = { kind: "harm", verb: "drops" };
const translates: Effect = { kind: "harm", verb: "translates" };
const unclear: Effect = { kind: "unclear" };
const goesOn: Effect = { kind: "continue" };

/** By the word that begins them. What follows belongs to the effect. */
export const effects: Readonly<Record<string, Effect>> = {
  accept: { kind: "accept" },
  return: { kind: "return" },
  continue: goesOn,
  dup: goesOn,
  flow: goesOn,
  queue: unclear,
  synproxy: unclear,
  drop: drops,
  reject: drops,
  dnat: translates,
  snat: translates,
  masquerade: translates,
  redirect: translates,
  notrack: { kind: "harm", verb: "does not track" },
  // Without a socket that listens, the packets continue.
  tproxy: { kind: "harm", verb: "takes", isMaybe: true },
  fwd: { kind: "harm", verb: "takes" },
};
