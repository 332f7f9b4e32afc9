/** The table of backends: from anything to any program in one or two transactions, and then nothing is left to do. */
import fc from "fast-check";
import t from "tap";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import type { Program, ProgramDnat } from "../../../../../lib/model/program.ts";
import { type ObservedBackends, ruleText, serviceKey } from "../../../../../lib/nftables/backends.ts";
import {
  type BackendsPlans,
  isInTable,
  joinBackends,
  missingBackends,
  planBackends,
  planBackendsPart,
  wantedBackends,
} from "../../../../../lib/plan/iptables/backends.ts";
import { createIptablesPlanner } from "../../../../../lib/plan/iptables/planner.ts";
import { backendsHarms, ModelBackends } from "../../../../support/model-kernel/backends-table.ts";
import { listProgram as program } from "./programs.ts";

const harms = fc.array(fc.record({ kind: fc.constantFrom(...backendsHarms), number: fc.nat(9) }), {
  maxLength: 4,
});

function write(table: ModelBackends, { before, after }: BackendsPlans): void {
  for (const { transaction, changes } of [before, after]) {
    if ((transaction === undefined) !== (changes.length === 0)) throw new Error("a plan without changes");
    if (transaction !== undefined && !table.write(transaction))
      throw new Error(`refused: ${JSON.stringify(changes)}`);
  }
}

function expectOnly(wanted: Program, observed: ObservedBackends): void {
  const listed = wanted.dnats.filter(isInTable);
  const expected = listed.map((dnat) => `${serviceKey(dnat)} ${ruleText(dnat)}`).sort();
  const held = Array.from(
    observed.elements,
    ([key, verdict]) => `${key} ${observed.chains.get(verdict.slice(5))}`,
  );
  if (held.sort().join("\n") !== expected.join("\n")) throw new Error(`${held} is not ${expected}`);
  if (observed.chains.size !== listed.length) throw new Error("a chain is left");
}

t.test("whatever was there, the table becomes as wanted, and the next plan is empty", async () => {
  fc.assert(
    fc.property(program, fc.option(program), harms, fc.boolean(), (first, other, acts, isJoined) => {
      const second = other ?? first;
      const table = new ModelBackends();
      write(table, planBackends(wantedBackends(first), table.read()));
      for (const { kind, number } of acts) table.harm(kind, number);
      const wanted = wantedBackends(second);
      const plans = planBackends(wanted, table.read());
      const joined = joinBackends(plans);
      write(table, isJoined ? { before: joined, after: { transaction: undefined, changes: [] } } : plans);
      expectOnly(second, table.read());
      if (joinBackends(planBackends(wanted, table.read())).changes.length > 0)
        throw new Error("not converged");
      if (missingBackends(wanted, table.read()).size > 0) throw new Error("something is missing");
    }),
    { numRuns: 500 },
  );
});

t.test("a part is planned as the whole is, and what is lost is missing", async () => {
  fc.assert(
    fc.property(program, program, fc.nat(), harms, (first, second, at, acts) => {
      const [changed] = second.dnats;
      fc.pre(changed !== undefined);
      const replaced = first.dnats[at % Math.max(first.dnats.length, 1)];
      const isOther = (dnat: ProgramDnat) => dnat !== replaced && serviceKey(dnat) !== serviceKey(changed);
      const others = first.dnats.filter(isOther);
      const partly = (dnats: readonly ProgramDnat[]) => wantedBackends({ ...first, dnats });
      const table = new ModelBackends();
      write(table, planBackends(wantedBackends(first), table.read()));
      const gone = first.dnats.filter((dnat) => !isOther(dnat));
      const plans = planBackendsPart(partly(gone), partly([changed]), table.read());
      if (plans === undefined) throw new Error("the definition is right");
      write(table, plans);
      const after = { ...first, dnats: [...others, changed] };
      expectOnly(after, table.read());
      for (const { kind, number } of acts) table.harm(kind, number);
      const wanted = wantedBackends(after);
      const isDamaged = planBackends(wanted, table.read()).before.changes.length > 0;
      return isDamaged === missingBackends(wanted, table.read()).size > 0 || wanted.size === 0;
    }),
    { numRuns: 300 },
  );
});

t.test("a DNAT that moves between rules and table always has a rule in one of them", async () => {
  const planner = createIptablesPlanner(ipv4);
  fc.assert(
    fc.property(program, program, (first, second) => {
      const table = new ModelBackends();
      write(table, planBackends(wantedBackends(first), table.read()));
      const observed = {
        variant: "nft",
        rules: new Map(),
        filterTables: undefined,
        backends: table.read(),
      } as const;
      const { steps } = planner.plan(second, observed).payload;
      const at = (kind: string) => steps.findIndex((step) => step.kind === kind);
      const removing = steps.findIndex(
        (step) =>
          step.kind === "backends" &&
          step.transaction.remove.length + step.transaction.drop.length > 0 &&
          step.transaction.write.size === 0,
      );
      const adding = steps.findIndex((step) => step.kind === "backends" && step.transaction.write.size > 0);
      return (
        (adding < 0 || adding < at("rules")) &&
        (removing < 0 || removing > steps.findLastIndex((step) => step.kind === "rules"))
      );
    }),
    { numRuns: 100 },
  );
});
