/** Rate limits in tests: a driver for tests about other things, and programs for tests about them. */
import type { QosDriver } from "../../agent/kernel/drivers.ts";
import { ipv4 } from "../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { Program, ProgramLimit } from "../../lib/model/program.ts";
import { noQosTable } from "../../lib/nftables/qos.ts";
import { nothingObserved } from "../../lib/plan/qos/observed.ts";

const nothing = { ...nothingObserved, table: noQosTable };

/** A namespace without limits, and without devices that could have some. */
export const nothingLimited: QosDriver = {
  counts: new Map(),
  readCounts: async () => new Map(),
  observe: async () => nothing,
  isCurrent: async () => true,
  readDrops: async () => new Map(),
  apply: async () => [],
};

/** A program with limits and nothing else, between eth0 and net1. */
export function limitProgram(limits: readonly ProgramLimit[]): Program {
  return {
    family: ipv4,
    vpcInterface: "eth0" as InterfaceName,
    externalInterface: "net1" as InterfaceName,
    defaultGateway: undefined,
    eips: [],
    fips: [],
    dnats: [],
    pools: [],
    routes: [],
    limits,
  };
}
