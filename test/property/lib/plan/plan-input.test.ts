/** The layers around the planners do not change results, neither by memoization nor by yielding. */

import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import type { RuleDump } from "../../../../lib/iptables/save.ts";
import { noMemory } from "../../../../lib/memoize.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { Program } from "../../../../lib/model/program.ts";
import { definitionLines } from "../../../../lib/nftables/definition-lines.ts";
import type { GateState, Gates } from "../../../../lib/plan/gate-state.ts";
import { compareGuard, wantedGuard } from "../../../../lib/plan/guard.ts";
import { wantedFilter } from "../../../../lib/plan/iptables/filter.ts";
import { type WantedTable, wantedMangle, wantedNat } from "../../../../lib/plan/iptables/layout.ts";
import type { IptablesObserved } from "../../../../lib/plan/iptables/observed.ts";
import { createIptablesPlanner } from "../../../../lib/plan/iptables/planner.ts";
import { iptablesRemoval } from "../../../../lib/plan/iptables/removal.ts";
import { planTable } from "../../../../lib/plan/iptables/table.ts";
import { wantedTable } from "../../../../lib/plan/nftables/layout.ts";
import type { NftablesObserved } from "../../../../lib/plan/nftables/observed.ts";
import { createNftablesPlanner } from "../../../../lib/plan/nftables/planner.ts";
import { nftablesRemoval } from "../../../../lib/plan/nftables/removal.ts";
import { allElements } from "../../../../lib/plan/nftables/table.ts";
import type { RulesPlanner } from "../../../../lib/plan/rules-planner.ts";
import { filterTablesOf } from "../../../support/fake-filter-tables.ts";
import { planWithGate } from "../../../support/with-gate.ts";
import { FakeTable } from "./iptables/packet-model.ts";
import { ip, program } from "./iptables/programs.ts";

const gate = fc.constantFrom<GateState>("open", "closed");
const gates = fc.record({ gate, bfd: gate });

/** The reading of a kernel with the rules of one program, and the guard and gate of another. */
const iptablesObserved: fc.Arbitrary<IptablesObserved> = fc
  .tuple(program, program, gates, fc.boolean())
  .map(([held, guarded, state, isLegacy]) => {
    const tables = tablesOf(held, isLegacy ? wantedFilter(guarded, wantedGuard(guarded), state) : undefined);
    return {
      variant: isLegacy ? "legacy" : "nft",
      rules: dumpOf(tables),
      filterTables: isLegacy ? undefined : filterTablesOf(guarded, state),
    };
  });

const nftablesObserved: fc.Arbitrary<NftablesObserved> = fc
  .tuple(program, program, gates, fc.boolean())
  .map(([held, definitiond, state, isThere]) => ({
    table: {
      definition: isThere ? definitionLines(wantedTable(definitiond).definition) : undefined,
      elements: allElements(
        wantedTable(isThere ? held : { ...held, eips: [], fips: [], dnats: [], pools: [] }),
      ),
    },
    filterTables: filterTablesOf(held, state),
    foreign: ["ip stranger forward ip daddr 203.0.113.1 accept"],
  }));

function tablesOf(held: Program, filter: WantedTable | undefined): readonly FakeTable[] {
  return [wantedNat(held), wantedMangle(held), ...(filter ? [filter] : [])].map((wanted) => {
    const table = new FakeTable(wanted.table);
    table.restore(planTable(wanted, table.read()).input ?? "");
    return table;
  });
}

function dumpOf(tables: readonly FakeTable[]): RuleDump {
  return new Map(tables.map((table) => [table.table, table.read()]));
}

/** The program and the reading of each question. There are few, so that they repeat. */
const questions = fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 2 }), fc.nat({ max: 2 }), gates), {
  minLength: 3,
  maxLength: 8,
});

function holds<Observed, Payload>(
  create: (memoizer?: typeof noMemory) => RulesPlanner<Observed, Payload>,
  observed: fc.Arbitrary<Observed>,
): void {
  const three = <T>(one: fc.Arbitrary<T>) => fc.tuple(one, one, one);
  fc.assert(
    fc.property(three(program), three(observed), questions, (programs, kernels, asked) => {
      const layered = create();
      for (const [at, other, kernel, gates] of asked) {
        const [first, second, seen] = [programs[at], programs[other], kernels[kernel]];
        if (first === undefined || second === undefined || seen === undefined) continue;
        const plain = create(noMemory);
        const both = (what: string, ask: (planner: RulesPlanner<Observed, Payload>) => unknown) => {
          if (!isDeepStrictEqual(ask(layered), ask(plain))) throw new Error(what);
        };
        both("plan", (planner) => planner.plan(first, seen));
        if (!isDeepStrictEqual(runSync(layered.planChunked(first, seen)), plain.plan(first, seen)))
          throw new Error("planChunked");
        both("planGate", (planner) => runSync(planner.planGateChunked(first, seen, gates)));
        both("planWithGate", (planner) => planWithGate(planner, first, seen, gates.gate));
        const [from, to] = [
          { ...first, pools: [] },
          { ...second, pools: [] },
        ];
        const guard = compareGuard(wantedGuard(to), wantedGuard(from));
        both("planPart", (planner) => planner.planPart(from, to, seen, guard));
        both("missing", (planner) => planner.missing(first, seen));
        both("eipsNamed", (planner) => planner.eipsNamed(seen));
        both("the rest", (planner) => [
          planner.holdsObjects(seen),
          planner.isPristine(seen),
          planner.isGateClosed(seen),
          planner.isBfdGateClosed(seen),
          planner.isGateSelective(seen),
          planner.mayDropTranslated(first, seen),
          planner.countRules(seen),
          planner.foreignRulesNaming(seen, ip("203.0.113.1")),
        ]);
      }
    }),
    { numRuns: 60 },
  );
}

t.test("iptables", async () => holds((memoizer) => createIptablesPlanner(ipv4, memoizer), iptablesObserved));
t.test("nftables", async () => holds((memoizer) => createNftablesPlanner(ipv4, memoizer), nftablesObserved));

t.test("changes are empty exactly where the payload does nothing; a payload includes its parts", async () => {
  const sum = <Observed, Payload extends { readonly steps: readonly unknown[] }>(
    planner: RulesPlanner<Observed, Payload>,
    wanted: Program,
    seen: Observed,
    gates: Gates,
  ) => {
    const rules = planner.plan(wanted, seen);
    const [filterTables = rules, ...others] = runSync(planner.planGateChunked(wanted, seen, gates));
    for (const { changes, payload } of [rules, filterTables, ...others])
      if ((changes.length === 0) !== (payload.steps.length === 0)) throw new Error("they disagree");
    if (filterTables === rules) return true;
    const both = planner.join(filterTables.payload, rules.payload);
    if (both.steps.length !== rules.payload.steps.length + filterTables.payload.steps.length) return false;
    const isPart = (one: Payload) => planner.includes(both, one);
    const isRest = rules.payload.steps.length > 0 && planner.includes(filterTables.payload, rules.payload);
    return isPart(rules.payload) && isPart(filterTables.payload) && !isRest;
  };
  fc.assert(
    fc.property(program, iptablesObserved, nftablesObserved, gates, (wanted, iptables, nftables, state) => {
      return (
        sum(createIptablesPlanner(ipv4), wanted, iptables, state) &&
        sum(createNftablesPlanner(ipv4), wanted, nftables, state)
      );
    }),
    { numRuns: 100 },
  );
});

t.test("leftovers of another dataplane are removed, foreign state stays", async (t) => {
  const stranger = "-s 192.0.2.1/32 -j RETURN";
  fc.assert(
    fc.property(program, fc.boolean(), (held, isLegacy) => {
      const tables = tablesOf(
        held,
        isLegacy ? wantedFilter(held, wantedGuard(held), { gate: "closed", bfd: "closed" }) : undefined,
      );
      const [nat] = tables;
      nat?.restore(`*nat\n-A POSTROUTING ${stranger}\nCOMMIT\n`);
      for (const { table, input } of iptablesRemoval.plan(dumpOf(tables)).payload)
        tables.find((one) => one.table === table)?.restore(input);
      const left = dumpOf(tables);
      const rules = [...left.values()].flatMap((chains) => [...chains.values()].flat());
      const again = iptablesRemoval.plan(left);
      if (again.changes.length + again.payload.length > 0) throw new Error(JSON.stringify(again));
      return rules.map(({ raw }) => raw).join() === stranger && !iptablesRemoval.holdsObjects(left);
    }),
    { numRuns: 60 },
  );
  const names = new Set(["natgw", "natgw_guard", "natgw_gate", "nat", "stranger"]);
  t.equal(nftablesRemoval.plan(names).payload, "delete table ip natgw\n", "guard and gate are everybody's");
  t.equal(nftablesRemoval.plan(names).changes.length, 1);
  t.same(nftablesRemoval.plan(new Set(["nat", "natgw_guard"])), { changes: [], payload: undefined });
  t.ok(nftablesRemoval.holdsObjects(names));
  t.notOk(nftablesRemoval.holdsObjects(new Set(["natgw_guard"])));
});
