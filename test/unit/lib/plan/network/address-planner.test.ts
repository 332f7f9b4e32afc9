/** What the steps of the addresses need, and why an Eip is not programmed. */
import t from "tap";
import { emptyLedger, ledgerKey } from "../../../../../lib/model/ledger.ts";
import type { AddressPlan, AddressStep } from "../../../../../lib/plan/address-plan.ts";
import { addressPlanner } from "../../../../../lib/plan/network/address-planner.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { entryOf, toIp } from "../../../../support/network-values.ts";

const eip = entryOf("net1", "203.0.113.10/24");
const object = "eips/a" as never;

function planOf(addresses: Partial<AddressPlan>, isKnown = false, named: readonly string[] = []) {
  const ledger = { ...emptyLedger, addresses: new Map(isKnown ? [[ledgerKey(eip), eip]] : []) };
  const input = {
    program: { eips: [], vpcInterface: "eth0" },
    addresses: { add: [], remove: [], anchors: [], blocked: [], ...addresses },
    ledger,
    facts: { eipsNamedByRules: new Set(named.map(toIp)) },
    context: { heldConflicts: new Map() },
  } as unknown as PlanInput;
  return addressPlanner.plan(input, undefined as never);
}

t.test("an address that the ledger lacks needs it; one that it has, and a local route, do not", async (t) => {
  const needs = (binding: AddressStep["binding"], isKnown: boolean, named?: readonly string[]) =>
    planOf({ add: [{ kind: "add", binding, entry: eip }] }, isKnown, named).steps.map((step) => step.needs);
  t.strictSame(needs("address", false), [["rule", "ledger"]]);
  t.strictSame(needs("address", true), [["rule"]]);
  t.strictSame(needs("address", false, ["203.0.113.10"]), [["ledger"]]);
  t.strictSame(needs("address", true, ["203.0.113.10"]), [undefined]);
  t.strictSame(needs("route", false), [["rule"]]);
});

t.test("both bindings are changes of this subsystem", async (t) => {
  for (const binding of ["address", "route"] as const) {
    const { steps } = planOf({ add: [{ kind: "add", binding, entry: eip }] });
    t.match(steps, [{ changes: [{ subsystem: "address" }] }], binding);
  }
});

t.test("a missing interface is no matter of waiting", async (t) => {
  const message = "interface net1 does not exist";
  const { obstacles } = planOf({ blocked: [{ object, entry: eip, code: "interface-missing", message }] });
  t.same(obstacles().objects.get(object), { condition: "Programmed", reason: "InterfaceNotFound", message });
});

t.test("what others get no ARP answer for is reported", async (t) => {
  t.same(planOf({}).notices, []);
  const { notices } = planOf({ unanswered: [entryOf("eth0", "10.0.1.2/24")], isVpcBare: true });
  t.match(notices, [
    { reason: "ArpIgnored", message: /10\.0\.1\.2 on eth0: its route in the local table is missing/ },
    { reason: "NoOwnAddress", message: "eth0 has no address: hosts in the VPC cannot resolve the gateway" },
  ]);
  const add: AddressStep = { kind: "add", binding: "address", entry: eip, routeSource: eip.address, object };
  const { message } =
    planOf({ add: [add] })
      .obstacles()
      .objects.get(object) ?? {};
  t.equal(message, "203.0.113.10 has no route in the local table");
});
