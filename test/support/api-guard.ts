/** The guard of an API that does not listen, and a driver that finds it in place. */
import type { ApiGuardDriver } from "../../agent/kernel/drivers.ts";
import type { ApiGuard } from "../../lib/model/api-guard.ts";
import type { ApiGuardObserved } from "../../lib/plan/api-guard/planner.ts";

export const noApi: ApiGuard = { ports: [], open: [] };

const observed: ApiGuardObserved = { hasNftables: false, definition: undefined };

export const apiGuardInPlace: ApiGuardDriver = {
  observe: async () => observed,
  isCurrent: async () => true,
  write: async () => {},
  ensure: async () => {},
  readDrops: async () => new Map(),
};
