/** Netfilter as tests need it that are about something else. */
import type { NetfilterDriver } from "../../agent/kernel/drivers.ts";
import type { NetfilterObserved } from "../../lib/plan/netfilter/observed.ts";

const nothing: NetfilterObserved = { tables: [], chains: [], foreign: [] };

/** A namespace in which nobody else has rules. */
export const nobodyElse: NetfilterDriver = {
  observe: async () => nothing,
  repair: async () => {},
};
