/** What a change of a part means for the guard, where objects outside of the part use the same addresses. */
import t, { type Test } from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { objectId } from "../../../../lib/model/names.ts";
import type { Program, ProgramDnat } from "../../../../lib/model/program.ts";
import { GuardUsers } from "../../../../lib/plan/guard-users.ts";
import { emptyProgram, iface, ip } from "../../../property/lib/plan/iptables/programs.ts";

const fip = (name: string, internalIp: string) => ({
  id: objectId("fip", name),
  eip: ip("203.0.113.10"),
  internalIp: ip(internalIp),
  isOutward: true,
});
type End = readonly [address: string, port: number];
const backend = ([address, port]: End) => ({ ip: ip(address), port });
const dnat = (name: string, first: End, ...others: readonly End[]): ProgramDnat => ({
  id: objectId("dnat", name),
  eip: ip("203.0.113.11"),
  protocol: "tcp",
  externalPort: 80,
  backends: [backend(first), ...others.map(backend)],
});
const part = (more: Partial<Program>): Program => ({ ...emptyProgram, ...more });
const whole = part({
  fips: [fip("one", "10.0.1.5"), fip("two", "10.0.1.5"), fip("three", "10.0.1.8")],
  dnats: [dnat("web", ["10.0.1.6", 80], ["10.0.1.7", 80]), dnat("api", ["10.0.1.6", 80], ["10.0.1.6", 81])],
});

/** One change after another, with backends counted and not. */
function expectChanges(
  t: Test,
  steps: readonly (readonly [from: Program, to: Program])[],
  found: readonly object[],
): void {
  for (const maxCounted of [undefined, 0]) {
    const users = new GuardUsers(whole, maxCounted);
    const changes = steps.map(([from, to]) => {
      const { difference, internal } = runSync(users.update(from, to));
      const { fips, backends } = difference.remove;
      return { fips, backends, internal: [...internal] };
    });
    t.match(changes, found);
  }
}

t.test("an element is freed with its last user, in whichever part that is", async (t) => {
  const none = part({});
  const [one, two, web, api] = [
    part({ fips: [fip("one", "10.0.1.5")] }),
    part({ fips: [fip("two", "10.0.1.5")] }),
    part({ dnats: [dnat("web", ["10.0.1.6", 80], ["10.0.1.7", 80])] }),
    part({ dnats: [dnat("api", ["10.0.1.6", 80], ["10.0.1.6", 81])] }),
  ];
  expectChanges(
    t,
    [
      [one, none],
      [none, one],
      [one, none],
      [two, none],
      [none, one],
    ],
    [[], [], [], ["10.0.1.5"], []].map((fips) => ({ fips, backends: [] })),
  );
  expectChanges(
    t,
    [
      [web, none],
      [api, part({ dnats: [dnat("api", ["10.0.1.6", 81])] })],
    ],
    [["10.0.1.7 . tcp . 80"], ["10.0.1.6 . tcp . 80"]].map((backends) => ({ fips: [], backends })),
  );
});

t.test("the addresses of new EIPs that objects translate to", async (t) => {
  const eips = ["10.0.1.5", "10.0.1.6", "10.0.1.9"].map((address) => ({
    id: objectId("eip", address),
    address: ip(address),
    prefixLength: 24,
    interface: iface("net1"),
  }));
  const three = part({ fips: [fip("three", "10.0.1.8")] });
  const moved = part({ fips: [fip("three", "10.0.1.9")] });
  const [none, added, gone] = [part({}), part({ eips }), part({ fips: whole.fips.slice(0, 2) })];
  const steps: readonly (readonly [Program, Program])[] = [
    [none, added],
    [added, added],
    [three, moved],
    [none, added],
    [gone, none],
    [none, added],
  ];
  expectChanges(t, steps, [
    { internal: ["10.0.1.5", "10.0.1.6"] },
    { internal: [] },
    { internal: [] },
    { internal: ["10.0.1.5", "10.0.1.6", "10.0.1.9"] },
    { internal: [] },
    { internal: ["10.0.1.6", "10.0.1.9"] },
  ]);
});
