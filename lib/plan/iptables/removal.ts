/** Removes what a variant of iptables left behind: chains, hooks, guard and gate. */
import type { Transaction } from "../../iptables/restore.ts";
import type { RuleDump } from "../../iptables/save.ts";
import type { RemovalPlanner } from "../removal-planner.ts";
import { wantedNothing } from "./layout.ts";
import { holdsObjects } from "./owned.ts";
import { planTable } from "./table.ts";

export const iptablesRemoval: RemovalPlanner<RuleDump, readonly Transaction[]> = {
  holdsObjects,
  plan(dump) {
    const plans = wantedNothing.map((wanted) => planTable(wanted, dump.get(wanted.table)));
    return {
      changes: plans.flatMap(({ changes }) => changes),
      payload: plans.flatMap(({ table, input }) => (input === undefined ? [] : [{ table, input }])),
    };
  },
};
