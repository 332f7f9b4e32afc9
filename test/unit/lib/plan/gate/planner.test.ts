/** What a closed gate keeps from Ready, and what it says. */
import t from "tap";
import type { GatewayConfig } from "../../../../../lib/model/gateway-config.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import type { DefinitionLines } from "../../../../../lib/nftables/definition-lines.ts";
import type { FilterTable } from "../../../../../lib/nftables/filter-table-names.ts";
import { gateSubsystemPlanner } from "../../../../../lib/plan/gate/planner.ts";
import type { Gates } from "../../../../../lib/plan/gate-state.ts";
import { wantedGuard } from "../../../../../lib/plan/guard.ts";
import { wantedFilter } from "../../../../../lib/plan/iptables/filter.ts";
import type { IptablesObserved } from "../../../../../lib/plan/iptables/observed.ts";
import { createIptablesPlanner } from "../../../../../lib/plan/iptables/planner.ts";
import { planTable } from "../../../../../lib/plan/iptables/table.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { FakeTable } from "../../../../property/lib/plan/iptables/packet-model.ts";
import { emptyProgram } from "../../../../property/lib/plan/iptables/programs.ts";
import { filterTablesOf } from "../../../../support/fake-filter-tables.ts";
import { gatesOf } from "../../../../support/with-gate.ts";

const planner = gateSubsystemPlanner(createIptablesPlanner(ipv4));

function lookAt(observed: IptablesObserved, gates: Gates, untranslated: GatewayConfig["untranslated"]) {
  const context = { ...gates, config: { untranslated } };
  const plan = planner.plan({ program: emptyProgram, context } as unknown as PlanInput, observed);
  return {
    kept: [...plan.obstacles().kinds.keys()],
    reasons: plan.notices.map(({ reason }) => reason),
    phases: plan.steps.map(({ phase }) => phase),
  };
}

/** The gates as tables; `gate`: how the gate's table is, instead. */
function asTables(gates: Gates, gate?: DefinitionLines): IptablesObserved {
  const filterTables = filterTablesOf(emptyProgram, gates);
  const definitions: Record<FilterTable, DefinitionLines> = { ...filterTables.definitions };
  if (gate !== undefined) definitions.gate = gate;
  return { variant: "nft", rules: new Map(), filterTables: { ...filterTables, definitions } };
}

function asChains(gates: Gates): IptablesObserved {
  const filter = new FakeTable("filter");
  const wanted = wantedFilter(emptyProgram, wantedGuard(emptyProgram), gates);
  filter.restore(planTable(wanted, filter.read()).input ?? "");
  return { variant: "legacy", rules: new Map([["filter", filter.read()]]), filterTables: undefined };
}

const [closed, open] = [gatesOf("closed"), gatesOf("open")];
const translating = ["fip", "snat", "dnat"];

t.test("a gate that knows what is translated keeps nothing from Ready", async (t) => {
  t.same(lookAt(asTables(closed), closed, "forward"), { kept: [], reasons: ["GateClosed"], phases: [] });
  t.same(lookAt(asTables(closed), closed, "drop"), { kept: [], reasons: [], phases: [] });
  t.same(lookAt(asTables(open), open, "forward"), { kept: [], reasons: [], phases: [] });
  t.same(lookAt(asTables(closed), open, "forward").phases, ["opening"]);
});

t.test("one of another layout may drop anything", async (t) => {
  const other = asTables(closed, ["table natgw_gate", "rule 1=2"]);
  t.same(lookAt(other, closed, "forward"), { kept: translating, reasons: ["GateClosed"], phases: ["gate"] });
  t.same(lookAt(asTables(closed, ["table natgw_gate"]), closed, "forward").kept, [], "an empty one nothing");
});

t.test("chains of filter drop everything, and cannot drop only what is not translated", async (t) => {
  t.same(lookAt(asChains(closed), closed, "forward"), {
    kept: translating,
    reasons: ["GateClosed"],
    phases: [],
  });
  const leaking = ["UntranslatedForwarded"];
  t.same(lookAt(asChains(open), open, "drop"), { kept: [], reasons: leaking, phases: [] });
  t.same(lookAt(asChains(closed), closed, "drop").reasons, ["GateClosed", ...leaking]);
});

t.test("each gate comes and goes by itself", async (t) => {
  const both: Gates = { gate: "closed", bfd: "closed" };
  const bfd: Gates = { gate: "open", bfd: "closed" };
  for (const observe of [asTables, asChains] as const) {
    t.same(lookAt(observe(both), bfd, "forward").phases, ["opening"]);
    t.same(lookAt(observe(bfd), open, "forward").phases, ["opening"]);
    t.same(lookAt(observe(open), bfd, "forward").phases, ["gate"]);
    t.same(lookAt(observe(closed), both, "forward").phases, ["gate"]);
    t.equal(lookAt(observe(bfd), closed, "forward").phases[0], "gate", "what closes does not wait");
    t.same(lookAt(observe(bfd), bfd, "forward"), { kept: [], reasons: [], phases: [] });
  }
});
