/** What a change of one DNAT among others changes in the guard's elements, and what it costs. */
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { objectId } from "../../../../lib/model/names.ts";
import type { Program, ProgramDnat } from "../../../../lib/model/program.ts";
import { outstandingGuard, wantedGuard } from "../../../../lib/plan/guard.ts";
import { GuardUsers } from "../../../../lib/plan/guard-users.ts";
import { emptyProgram, ip } from "../../../property/lib/plan/iptables/programs.ts";

const dnat = (name: string, more: Partial<ProgramDnat> = {}): ProgramDnat => ({
  id: objectId("dnat", name),
  eip: ip("203.0.113.10"),
  protocol: "tcp",
  externalPort: 80,
  backends: [
    { ip: ip("10.0.1.5"), port: 80 },
    { ip: ip("10.0.1.6"), port: 80 },
  ],
  ...more,
});
const programOf = (...dnats: readonly ProgramDnat[]): Program => ({ ...emptyProgram, dnats });

/** The backends that are put in and taken out, by a change that is the whole program. */
function changeOf(from: Program, to: Program) {
  const elements = wantedGuard(from);
  const users = new GuardUsers(from);
  const { difference } = runSync(users.update(from, to));
  const { add, remove } = outstandingGuard(difference, (set, key) => elements[set].has(key));
  return { add: add.backends, remove: remove.backends };
}

t.test("whatever of a DNAT changes", async (t) => {
  const backends = ["10.0.1.5 . tcp . 80", "10.0.1.6 . tcp . 80"];
  const [one, other] = dnat("web").backends;
  const rows: readonly (readonly [
    Partial<ProgramDnat>,
    add: readonly string[],
    remove: readonly string[],
  ])[] = [
    [{}, [], []],
    [{ externalPort: 81 }, [], []],
    [{ isSticky: true }, [], []],
    [{ backends: [other ?? one, one] }, [], []],
    [{ protocol: "udp" }, ["10.0.1.5 . udp . 80", "10.0.1.6 . udp . 80"], backends],
    [{ backends: [one] }, [], ["10.0.1.6 . tcp . 80"]],
    [{ backends: [one, { ip: ip("10.0.1.7"), port: 80 }] }, ["10.0.1.7 . tcp . 80"], ["10.0.1.6 . tcp . 80"]],
    [{ backends: [one, { ip: ip("10.0.1.6"), port: 81 }] }, ["10.0.1.6 . tcp . 81"], ["10.0.1.6 . tcp . 80"]],
  ];
  for (const [more, add, remove] of rows)
    t.same(
      changeOf(programOf(dnat("web")), programOf(dnat("web", more))),
      { add, remove },
      JSON.stringify(more),
    );
});

t.test("a list that grows", async (t) => {
  const [one] = dnat("web").backends;
  const change = changeOf(programOf(dnat("web", { backends: [one] })), programOf(dnat("web")));
  t.same(change, { add: ["10.0.1.6 . tcp . 80"], remove: [] });
});

t.test("what another DNAT uses stays", async (t) => {
  const [one] = dnat("web").backends;
  const both = programOf(dnat("web"), dnat("api", { externalPort: 81 }));
  t.same(changeOf(both, programOf(dnat("api", { externalPort: 81 }))), { add: [], remove: [] });
  t.same(changeOf(both, programOf(dnat("web", { backends: [one] }), dnat("api", { externalPort: 81 }))), {
    add: [],
    remove: [],
  });
  t.same(changeOf(both, programOf()).remove, ["10.0.1.5 . tcp . 80", "10.0.1.6 . tcp . 80"]);
});

t.test("the backends of DNATs that stay as they are cost no look at the kernel's", async (t) => {
  const others = Array.from({ length: 100 }, (_, at) =>
    dnat(`other-${at}`, { backends: [{ ip: ip(`10.0.2.${at}`), port: 80 }] }),
  );
  const [one] = dnat("web").backends;
  const [from, to] = [
    programOf(dnat("web"), ...others),
    programOf(dnat("web", { backends: [one] }), ...others),
  ];
  const users = new GuardUsers(from);
  const { difference } = runSync(users.update(from, to));
  let looks = 0;
  outstandingGuard(difference, () => {
    looks++;
    return true;
  });
  t.ok(looks <= 3, `${looks} looks`);
});
