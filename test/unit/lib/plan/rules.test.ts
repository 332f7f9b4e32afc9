/** Session affinity where the kernel has no nf_tables, and the rules of both dataplanes where it has. */
import t from "tap";
import { parseSave } from "../../../../lib/iptables/save.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { objectId } from "../../../../lib/model/names.ts";
import type { Program, ProgramDnat } from "../../../../lib/model/program.ts";
import { wantedBackends } from "../../../../lib/plan/iptables/backends.ts";
import { createIptablesPlanner } from "../../../../lib/plan/iptables/planner.ts";
import { wantedTable } from "../../../../lib/plan/nftables/layout.ts";
import { planPart } from "../../../../lib/plan/nftables/part.ts";
import { allElements } from "../../../../lib/plan/nftables/table.ts";
import { rulesSubsystemPlanner } from "../../../../lib/plan/rules.ts";
import { emptyProgram, ip } from "../../../property/lib/plan/iptables/programs.ts";

const dnat = (name: string, externalPort: number, more: Partial<ProgramDnat> = {}): ProgramDnat => ({
  id: objectId("dnat", name),
  eip: ip("203.0.113.10"),
  protocol: "tcp",
  externalPort,
  backends: [
    { ip: ip("10.0.1.5"), port: 80 },
    { ip: ip("10.0.1.6"), port: 80 },
  ],
  isList: true,
  ...more,
});
const program: Program = {
  ...emptyProgram,
  dnats: [dnat("sticky", 80, { isSticky: true }), dnat("random", 81)],
};

t.test("rules of iptables cannot do it: no rule, and NotSupported", async (t) => {
  const rules = parseSave("*nat\nCOMMIT\n*mangle\nCOMMIT\n", ipv4);
  const observed = { variant: "legacy", rules, filterTables: undefined } as const;
  const iptables = createIptablesPlanner(ipv4);
  const planner = rulesSubsystemPlanner(iptables);
  const input = { program, context: { gate: {} }, facts: {} } as unknown as Parameters<
    typeof planner.plan
  >[0];
  const plan = planner.plan(input, observed);
  const texts = plan.steps.flatMap(({ changes }) => changes.map(({ text }) => text));
  t.equal(texts.filter((text) => text.includes("--dport 81")).length, 2);
  t.notOk(texts.some((text) => text.includes("--dport 80")));
  t.match(plan.obstacles().objects.get(objectId("dnat", "sticky")), {
    condition: "Programmed",
    reason: "NotSupported",
    isSettled: true,
  });
  t.match(plan.obstacles().objects.get(objectId("dnat", "random")), { reason: "Pending" });
  const users = { eips: new Map() } as unknown as Parameters<typeof iptables.planPart>[3];
  t.equal(
    iptables.planPart(emptyProgram, program, observed, users),
    undefined,
    "it takes a plan of the whole",
  );
});

t.test("the table of backends: the same chain with another rule", async (t) => {
  const texts = Array.from(wantedBackends(program).values(), ({ text }) => text);
  const map = "map { 0 : 10.0.1.5 . 80, 1 : 10.0.1.6 . 80 }";
  t.strictSame(texts, [
    `meta l4proto tcp dnat ip to jhash ip saddr mod 2 seed 0x1 ${map}`,
    `meta l4proto tcp dnat ip to numgen random mod 2 ${map}`,
  ]);
});

t.test("nftables: draws with a range of their own, and a rule for each number of backends", async (t) => {
  const wanted = wantedTable(program);
  t.match(wanted.definition, { backendCounts: [2], stickyCounts: [2] });
  t.strictSame(
    [...allElements(wanted).dnat_n.keys()].map((key) => key.split(" . ").slice(2).join()),
    ["80,0x80020000", "80,0x80020001", "81,0x00020000", "81,0x00020001"],
  );
  const [sticky, random] = [
    { ...emptyProgram, dnats: [dnat("d", 80, { isSticky: true })] },
    { ...emptyProgram, dnats: [dnat("d", 80)] },
  ].map(wantedTable);
  if (sticky === undefined || random === undefined) throw new Error("no tables");
  t.equal(planPart(sticky, random, allElements(sticky)), undefined, "another definition");
});
