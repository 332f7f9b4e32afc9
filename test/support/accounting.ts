/** Accounting in tests about other things. */
import type { AccountingDriver } from "../../agent/kernel/drivers.ts";

/** A kernel that does not count. */
export const nothingCounted: AccountingDriver = {
  isCounting: false,
  observe: async () => undefined,
  isCurrent: async () => true,
  apply: async () => [],
  readCounts: async () => new Map(),
};
