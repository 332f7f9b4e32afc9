/** A driver of rate limits for tests about other things. */
import type { QosDriver } from "../../agent/kernel/drivers.ts";
import { noQosTable } from "../../lib/nftables/qos.ts";
import { nothingObserved } from "../../lib/plan/qos/observed.ts";

const nothing = { ...nothingObserved, table: noQosTable };

/** A namespace without limits, and without devices that could have some. */
export const nothingLimited: QosDriver = {
  counts: new Map(),
  observe: async () => nothing,
  isCurrent: async () => true,
  apply: async () => [],
};
