/** A netfilter driver for tests about other things. */
import type { NetfilterDriver } from "../../agent/kernel/drivers.ts";
import type { NetfilterObserved } from "../../lib/plan/netfilter/observed.ts";

const nothing: NetfilterObserved = { tables: [], chains: [], foreign: [] };

/** A namespace without foreign rules. */
export const nobodyElse: NetfilterDriver = {
  observe: async () => nothing,
  repair: async () => {},
};
