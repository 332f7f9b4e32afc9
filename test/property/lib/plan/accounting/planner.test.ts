/** Whatever the kernel holds, one pass makes it what the program asks for, and the next plans nothing. */
import fc from "fast-check";
import t from "tap";
import type { Ip } from "../../../../../lib/model/ip.ts";
import type { InterfaceName, ObjectId } from "../../../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../../../lib/model/observed.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import { accountingPlanner } from "../../../../../lib/plan/accounting/planner.ts";
import { wireMtu } from "../../../../../lib/plan/accounting/wanted.ts";
import { phases } from "../../../../../lib/plan/phases.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { AccountingKernel } from "../../../../support/accounting-kernel.ts";
import { limitProgram } from "../../../../support/qos.ts";

const [vpc, external] = ["eth0", "net1"] as InterfaceName[] as [InterfaceName, InterfaceName];

function programOf(hosts: readonly number[]): Program {
  const eips = hosts.map((host) => ({
    id: `eip/e${host}` as ObjectId,
    address: `203.0.113.${host}` as Ip,
    prefixLength: 24,
    interface: host > 6 ? ("net2" as InterfaceName) : external,
  }));
  return { ...limitProgram([]), eips };
}

function networkOf(mtu: number | undefined): ObservedNetwork {
  const link = (name: InterfaceName, index: number) => ({
    index,
    name,
    mac: "",
    isUp: true,
    hasCarrier: true,
    ...(mtu !== undefined && { mtu }),
  });
  return {
    links: [link(vpc, 1), link(external, 2)],
    addresses: [],
    routes: [],
  } as unknown as ObservedNetwork;
}

function inputOf(program: Program, network: ObservedNetwork): PlanInput {
  return { program, facts: { network } } as unknown as PlanInput;
}

const hosts = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 });
type Harm = (kernel: AccountingKernel) => void;
const harms = fc.constantFrom<Harm>(
  () => {},
  (kernel) => kernel.dropTable(),
  (kernel) => kernel.insertRule(),
  (kernel) => kernel.setElements("192.0.2.1", "203.0.113.1"),
  (kernel) => kernel.setElements("*"),
  (kernel) => kernel.count("203.0.113.9", "192.0.2.2"),
);
const moves = fc.array(fc.tuple(hosts, fc.constantFrom(undefined, 1_400, 1_500), harms, fc.boolean()), {
  minLength: 1,
  maxLength: 8,
});

t.test("a pass repairs everything", async (t) => {
  fc.assert(
    fc.property(moves, (moves) => {
      const kernel = new AccountingKernel();
      for (const [wanted, mtu, harm, isOn] of moves) {
        const planner = accountingPlanner(isOn);
        const input = inputOf(programOf(wanted), networkOf(mtu));
        harm(kernel);
        const { steps, obstacles, notices } = planner.plan(input, kernel.observe());
        const inOrder = steps.toSorted((a, b) => phases.indexOf(a.phase) - phases.indexOf(b.phase));
        for (const { payload, changes } of inOrder) {
          if (changes.length === 0) throw new Error("a step without a change");
          kernel.apply(payload.transaction);
        }
        const { definition, eips, strays } = kernel.observe();
        const expected = isOn ? wanted.map((host) => `203.0.113.${host}`).sort() : [];
        if ([...eips].sort().join() !== expected.join()) throw new Error(`${[...eips]} for ${expected}`);
        if ((definition !== undefined) !== expected.length > 0 || strays.size > 0)
          throw new Error("left over");
        if (planner.plan(input, kernel.observe()).steps.length > 0) throw new Error("it plans again");
        if (obstacles().objects.size + notices.length > 0) throw new Error("an object is held up");
        kernel.count();
      }
    }),
  );
  t.pass("it always did");
});

t.test("a kernel that does not count is left alone", async (t) => {
  t.same(accountingPlanner(true).plan(inputOf(programOf([1]), networkOf(undefined)), undefined).steps, []);
});

t.test("the wire's MTU is the smaller one of both sides", async (t) => {
  const links = [
    { name: vpc, mtu: 1_400 },
    { name: external, mtu: 9_000 },
    { name: "lo", mtu: 1_280 },
  ];
  const network = { links } as unknown as ObservedNetwork;
  t.equal(wireMtu(network, vpc, external), 1_400);
  t.equal(wireMtu({ links: [] }, vpc, external), 1_500, "unknown");
  t.equal(wireMtu({ links: [{ name: vpc, mtu: 0 }] } as unknown as ObservedNetwork, vpc, external), 1_500);
});
