/** What a pass plans over each dataplane, for state of any shape: bounded work in one turn of the event loop. */

import t from "tap";
import { Turns } from "../../../../agent/api/answers/turns.ts";
import type { Chunked } from "../../../../lib/chunked.ts";
import { compile } from "../../../../lib/compile/compile.ts";
import type { Rule } from "../../../../lib/iptables/rule.ts";
import type { RuleDump } from "../../../../lib/iptables/save.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";
import type { ObservedLink, ObservedNetwork } from "../../../../lib/model/observed.ts";
import type { Program } from "../../../../lib/model/program.ts";
import { definitionLines } from "../../../../lib/nftables/definition-lines.ts";
import { byFilterTable } from "../../../../lib/nftables/filter-table-names.ts";
import type { ObservedFilterTables } from "../../../../lib/nftables/filter-tables.ts";
import { byMap, noElements } from "../../../../lib/nftables/maps.ts";
import { noGuardElements } from "../../../../lib/nftables/sets.ts";
import type { Gates } from "../../../../lib/plan/gate-state.ts";
import type { IptablesObserved } from "../../../../lib/plan/iptables/observed.ts";
import { createIptablesPlanner } from "../../../../lib/plan/iptables/planner.ts";
import { planRoutesChunked } from "../../../../lib/plan/network/routes.ts";
import { wantedTable } from "../../../../lib/plan/nftables/layout.ts";
import { createNftablesPlanner } from "../../../../lib/plan/nftables/planner.ts";
import { allElements } from "../../../../lib/plan/nftables/table.ts";
import type { RulesPlanner } from "../../../../lib/plan/rules-planner.ts";
import { shapes } from "../../../support/api-shapes.ts";
import { WorkMeter } from "../../../support/work-meter.ts";

const count = 18_000;
/** Far fewer than there are objects. */
const looksAtOnce = 8_000;

const filterTables: ObservedFilterTables = {
  definitions: byFilterTable(() => undefined),
  elements: noGuardElements,
};
const gates: Gates = { gate: "closed", bfd: "closed" };

for (const [name, make] of Object.entries(shapes)) {
  t.test(name, async (t) => {
    const { state, network } = make(count);
    const meter = new WorkMeter();
    const turns = new Turns();
    meter.start();
    t.teardown(() => meter.stop());
    const run = async <T>(what: string, parts: Chunked<T>): Promise<T> => {
      await turns.next();
      meter.reset();
      const result = await turns.run(parts);
      // The meter counts the last part in the next turn.
      await turns.next();
      if (meter.most > looksAtOnce) t.fail(`${what}: ${meter.most} looks in one turn`);
      return result;
    };
    const compiled = compile(state.desired, {
      vpcInterface: "eth0" as InterfaceName,
      externalInterface: "net1" as InterfaceName,
      ownAddresses: new Set(),
      fallbackGateway: undefined,
      connectedSubnets: [],
      family: ipv4,
      expiredLeases: new Set(),
      addressConflicts: new Map(),
      quarantined: new Map(),
      missingInterfaces: new Set(),
    });
    const { eips, fips, dnats, pools, routes } = compiled.program;
    const program: Program = {
      ...compiled.program,
      eips: meter.list(eips),
      fips: meter.list(fips),
      dnats: meter.list(dnats),
      pools: meter.list(pools),
      routes: meter.list(routes),
    };
    /** All that is planned on a reading, and how it is judged. */
    const planOn = async <Observed, Payload>(
      what: string,
      planner: RulesPlanner<Observed, Payload>,
      observed: Observed,
    ) => {
      if (planner.prepare !== undefined) await run(`${what}: what it holds`, planner.prepare(observed));
      await run(`${what}: guard and gates`, planner.planGateChunked(program, observed, gates));
      const plan = await run(what, planner.planChunked(program, observed));
      await run(`${what}: what is missing`, planner.missingChunked(program, observed));
      return plan;
    };

    const table = wantedTable(compiled.program);
    const elements = allElements(table);
    const counted = byMap((map) => meter.map(elements[map]));
    const foreign: readonly string[] = [];
    const nftables = (table: { definition: readonly string[] | undefined; elements: typeof elements }) =>
      planOn("nftables", createNftablesPlanner(ipv4), { table, filterTables, foreign });
    await nftables({ definition: undefined, elements: noElements });
    await nftables({ definition: definitionLines(table.definition), elements: noElements });
    await nftables({ definition: definitionLines(table.definition), elements: counted });

    for (const variant of ["nft", "legacy"] as const) {
      const isNft = variant === "nft";
      const read = (rules: RuleDump): IptablesObserved => ({
        variant,
        rules,
        filterTables: isNft ? filterTables : undefined,
        ...(isNft && { backends: { definition: undefined, elements: new Map(), chains: new Map() } }),
      });
      const what = `iptables-${variant}`;
      const { payload } = await planOn(`${what}, empty`, createIptablesPlanner(ipv4), read(new Map()));
      const expected = payload.expected ?? new Map();
      const reread = (isThere: (index: number) => boolean) =>
        read(mapRules(expected, (rules) => meter.list(rules.filter((_, index) => isThere(index)))));
      await planOn(
        what,
        createIptablesPlanner(ipv4),
        reread(() => true),
      );
      await planOn(
        `${what}, a rule lost`,
        createIptablesPlanner(ipv4),
        reread((index) => index !== 1),
      );
    }

    const observed: ObservedNetwork = {
      ...network,
      links: [{ name: "eth0", isUp: true } as ObservedLink],
    };
    const { steps } = await run("routes", planRoutesChunked({ program, observed }));
    const held = meter.list(steps.map(({ route }) => route));
    const left = await run(
      "routes in force",
      planRoutesChunked({ program, observed: { ...observed, routes: held } }),
    );
    t.equal(left.steps.length, 0);
  });
}

function mapRules(dump: RuleDump, convert: (rules: readonly Rule[]) => readonly Rule[]): RuleDump {
  return new Map(
    [...dump].map(([table, chains]) => [
      table,
      new Map([...chains].map(([chain, rules]) => [chain, convert(rules)])),
    ]),
  );
}
