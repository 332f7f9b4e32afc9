/** For tests about netfilter: a driver where it is about other things, and how a chain is walked by itself. */
import type { NetfilterDriver } from "../../agent/kernel/drivers.ts";
import type { WalkOptions } from "../../lib/netfilter/walk.ts";
import type { NetfilterObserved } from "../../lib/plan/netfilter/observed.ts";

export const nobody: NetfilterObserved = { tables: [], chains: [], foreign: [] };

/** A namespace without foreign rules. */
export const nobodyElse: NetfilterDriver = {
  observe: async () => nobody,
  repair: async () => {},
};

/** All packets reach the chain, and no chain is the agent's. */
export const alone: WalkOptions = {
  chainNamed: () => undefined,
  isOwn: () => false,
  leadsToOwn: false,
  entering: "all",
};
