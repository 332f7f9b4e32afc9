/** Where Eips can be added alone, a plan of the whole adds the same bindings, and finds nothing to do in the network with them. */
import fc from "fast-check";
import t from "tap";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import { emptyLedger, ledgerKey } from "../../../../../lib/model/ledger.ts";
import type { ObjectId } from "../../../../../lib/model/names.ts";
import type { ObservedAddress, ObservedNetwork } from "../../../../../lib/model/observed.ts";
import type { Program, ProgramEip } from "../../../../../lib/model/program.ts";
import type { Binding } from "../../../../../lib/plan/address-plan.ts";
import {
  bindingSteps,
  eipsAdded,
  isNetworkWith,
  whyNotAlone,
} from "../../../../../lib/plan/network/added-eips.ts";
import { planAddresses } from "../../../../../lib/plan/network/addresses.ts";
import { bindingRoute } from "../../../../../lib/plan/network/bindings.ts";
import { device, entryOf, toIp } from "../../../../support/network-values.ts";

const [net1, net2] = ["net1", "net2"].map(device);
const lasts = [10, 11, 12, 13, 14];
const anyEip = fc.record({
  last: fc.constantFrom(...lasts),
  length: fc.constantFrom(24, 24, 24, 32),
  name: fc.constantFrom("net1", "net1", "net1", "net2"),
});
const eipOf = ({ last, length, name }: { last: number; length: number; name: string }): ProgramEip => ({
  id: `eips/e${last}` as ObjectId,
  ...entryOf(name, `203.0.113.${last}/${length}`),
});
const anyEips = fc
  .uniqueArray(anyEip, { maxLength: 4, selector: ({ last }) => last })
  .map((all) => all.map(eipOf));

function programOf(eips: readonly ProgramEip[]): Program {
  return {
    family: ipv4,
    vpcInterface: device("eth0"),
    externalInterface: net1,
    defaultGateway: undefined,
    eips,
    fips: [],
    dnats: [],
    pools: [],
    routes: [],
  } as unknown as Program;
}

const addressAt = (entry: ReturnType<typeof entryOf>, isSecondary = true): ObservedAddress => ({
  ...entry,
  isSecondary,
  label: entry.interface,
});

/** A network that holds these EIPs, beside addresses of the gateway's own and an orphan. */
function networkWith(eips: readonly ProgramEip[], binding: Binding, isBare: boolean): ObservedNetwork {
  const own = isBare ? [] : [addressAt(entryOf("net1", "203.0.113.254/24"), false)];
  const orphan = addressAt(entryOf("net2", "203.0.113.14/32"), false);
  const bound = eips.map(({ id: _, ...entry }) => entry);
  return {
    links: [net1, net2].map((name, at) => ({ index: at + 2, name, mac: "", isUp: true, hasCarrier: true })),
    addresses: [...own, ...(binding === "address" ? bound.map((entry) => addressAt(entry)) : []), orphan],
    routes: binding === "route" ? bound.map(bindingRoute) : [],
    sysctls: new Map(),
  } as unknown as ObservedNetwork;
}

t.test("adding Eips alone is what a plan of the whole does", async (t) => {
  let alone = 0;
  const anyCase = fc.record({
    before: anyEips,
    more: anyEips,
    binding: fc.constantFrom<Binding>("address", "route"),
    isBare: fc.nat(9).map((number) => number === 0),
    isRetired: fc.nat(9).map((number) => number === 0),
  });
  fc.assert(
    fc.property(anyCase, ({ before, more, binding, isBare, isRetired }) => {
      const after = [
        ...before,
        ...more.filter(({ address }) => before.every((eip) => eip.address !== address)),
      ];
      const added = eipsAdded(programOf(before), programOf(after));
      if (added === undefined) return false;
      t.strictSame(added, after.slice(before.length));
      const addresses = new Map(before.map((eip) => [ledgerKey(eip), eip]));
      const retired = new Set(isRetired ? [toIp("203.0.113.10")] : []);
      const ledger = { ...emptyLedger, addresses, retired };
      const network = networkWith(before, binding, isBare);
      const input = {
        observed: network,
        ledger,
        ownedByRules: new Set<never>(),
        keep: new Set<never>(),
        binding,
      };
      const rest = planAddresses({ ...input, program: programOf(before) });
      const isAtRest = rest.add.length + rest.remove.length + rest.ledgerMissing.length === 0;
      if (
        !isAtRest ||
        whyNotAlone(added, { network, ledger, addresses: rest, externalInterface: net1 as never })
      )
        return true;
      alone++;
      const steps = bindingSteps(added, binding);
      const whole = planAddresses({ ...input, program: programOf(after) });
      t.strictSame(whole.add, steps);
      t.strictSame([whole.remove, whole.ledgerMissing, whole.orphans], [[], [], rest.orphans]);

      const held = networkWith(after, binding, isBare);
      t.ok(isNetworkWith(steps, network, held));
      if (steps.length > 0) t.notOk(isNetworkWith(steps, network, network), "nothing was added");
      if (steps.length > 1) t.notOk(isNetworkWith(steps.slice(1), network, held), "something else was added");
      const later = { ...held, addresses: held.addresses.slice(0, -1) };
      t.notOk(isNetworkWith(steps, network, later), "something is gone");
      const done = new Map(after.map((eip) => [ledgerKey(eip), eip]));
      const again = planAddresses({
        ...input,
        program: programOf(after),
        observed: held,
        ledger: { ...ledger, addresses: done },
      });
      t.strictSame([again.add, again.remove, again.ledgerMissing, again.ledgerStale], [[], [], [], []]);
      t.strictSame([again.own, again.orphans], [rest.own, rest.orphans]);
      return t.passing();
    }),
    { numRuns: 300 },
  );
  t.ok(alone > 60, `${alone} of them alone`);
});

t.test("an Eip that goes, moves, changes its name or is not held takes a plan of the whole", async (t) => {
  const [one, two] = [10, 11].map((last) => eipOf({ last, length: 24, name: "net1" })) as [
    ProgramEip,
    ProgramEip,
  ];
  const from = programOf([one]);
  t.strictSame(eipsAdded(from, programOf([one, two])), [two]);
  for (const to of [
    programOf([]),
    programOf([{ ...one, prefixLength: 32 }]),
    programOf([{ ...one, id: "eips/other" as ObjectId }]),
    { ...programOf([one, two]), unboundEips: [eipOf({ last: 12, length: 24, name: "net1" })] },
  ])
    t.equal(eipsAdded(from, to), undefined);
});
