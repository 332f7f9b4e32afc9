/**
 * A closed part of the set compiles to the same result as inside the whole set, and everything outside of it stays the
 * same.
 */

import fc from "fast-check";
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { AffectedSet, restrictTo } from "../../../../lib/compile/affected.ts";
import { type Compiled, compile } from "../../../../lib/compile/compile.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { type InterfaceName, type Kind, type ObjectId, objectId } from "../../../../lib/model/names.ts";
import { ruledEips } from "../../../../lib/model/program.ts";
import type { Desired } from "../../../../lib/state/desired.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../lib/state/state.ts";

interface Step {
  readonly kind: Kind;
  readonly name: string;
  /** Absent: deleted. */
  readonly spec?: Readonly<Record<string, unknown>>;
}

const letter = fc.constantFrom("a", "b", "c", "d", "e");
const internalIp = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.254");
const address = fc.constantFrom("203.0.113.10/24", "203.0.113.11/24", "203.0.113.12/24", "203.0.113.0/24");
const specs = {
  eip: fc.record({ address, bound: fc.constantFrom(true, true, false) }),
  fip: fc.record({ eip: letter, internalIp }),
  dnat: fc.record({
    eip: letter,
    protocol: fc.constantFrom("tcp", "udp"),
    externalPort: fc.constantFrom(80, 81),
    internalIp,
    internalPort: fc.constant(80),
  }),
};
const put = fc
  .constantFrom("eip" as const, "fip" as const, "dnat" as const)
  .chain((kind) =>
    fc.record({ kind: fc.constant(kind as Kind), name: letter, spec: specs[kind] as fc.Arbitrary<object> }),
  );
const gone = fc.record({ kind: fc.constantFrom<Kind>("eip", "fip", "dnat"), name: letter });
const step = fc.oneof({ weight: 4, arbitrary: put }, gone) as fc.Arbitrary<Step>;

function after(state: State, steps: readonly Step[]): State {
  return steps.reduce((before, { kind, name, spec }) => {
    const changes =
      spec === undefined
        ? { type: "delete", kind, name }
        : { type: "put", kind, object: stored(before, kind, { name, ...spec }) };
    return reduce(before, [changes as unknown as StateChange]);
  }, state);
}

function stored(
  state: State,
  kind: Kind,
  spec: Readonly<Record<string, unknown>> & { readonly name: string },
) {
  const objects: ReadonlyMap<string, { readonly creation: number }> = state.desired[`${kind}s`];
  return { spec, revision: 1, creation: objects.get(spec.name)?.creation ?? state.nextCreation };
}

const context = {
  family: ipv4,
  vpcInterface: "eth0" as InterfaceName,
  externalInterface: "net1" as InterfaceName,
  ownAddresses: new Set(["10.0.0.254" as Ip]),
  connectedSubnets: undefined,
  expiredLeases: new Set<never>(),
  addressConflicts: new Map(),
  quarantined: new Map(),
  missingInterfaces: new Set<never>(),
};

/** The compiler's result for each object: its part of the program, or why it has none. */
function sayings(desired: Desired): ReadonlyMap<ObjectId, unknown> {
  const { program, blocked, idle, shadowed }: Compiled = compile(desired, context);
  const said = new Map<ObjectId, unknown>([...blocked, ...idle]);
  for (const part of [...ruledEips(program), ...program.fips, ...program.dnats])
    said.set(part.id, [part, blocked.get(part.id), shadowed.get(part.id)]);
  return said;
}

t.test("a closed part compiles as in the whole set, and the rest does not change", async (t) => {
  let parts = 0;
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 20 }),
      fc.array(step, { minLength: 1, maxLength: 4 }),
      (first, then) => {
        const before = after(emptyState, first).desired;
        const now = after({ ...emptyState, desired: before, nextCreation: 100 }, then).desired;
        const ids = new Set(then.map(({ kind, name }) => objectId(kind, name)));
        const neighbourhood = runSync(AffectedSet.of(before));
        neighbourhood.update(before, now, ids);
        const part = neighbourhood.around(ids, [before, now], 1_000);
        if (part === undefined) return false;
        const [wholeBefore, wholeNow] = [sayings(before), sayings(now)];
        const [partBefore, partNow] = [sayings(restrictTo(before, part)), sayings(restrictTo(now, part))];
        for (const id of new Set([...wholeBefore.keys(), ...wholeNow.keys()])) {
          if (part.has(id)) {
            parts++;
            t.strictSame(partBefore.get(id), wholeBefore.get(id));
            t.strictSame(partNow.get(id), wholeNow.get(id));
          } else t.strictSame(wholeNow.get(id), wholeBefore.get(id), `${id} is out of reach`);
        }
        return t.passing();
      },
    ),
    { numRuns: 400 },
  );
  t.ok(parts > 1_000, "and that of many objects");
});

t.test("an affected set above the limit is undefined", async (t) => {
  const fips = ["a", "b", "c"].map(
    (name): Step => ({ kind: "fip", name, spec: { eip: "e", internalIp: "10.0.0.1" } }),
  );
  const { desired } = after(emptyState, fips);
  const neighbourhood = runSync(AffectedSet.of(desired));
  t.equal(neighbourhood.around(["fips/a"], [desired], 3), undefined);
  t.equal(neighbourhood.around(["fips/a"], [desired], 4)?.size, 4, "the FIPs and their Eip's name");
});

t.test("users of kinds that are left out are known for their Eip", async (t) => {
  const steps: readonly Step[] = [
    { kind: "eip", name: "e", spec: { address: "203.0.113.10/24" } },
    { kind: "snat", name: "s", spec: { eip: "e", internalCIDR: "10.0.0.0/24" } },
    { kind: "fip", name: "f", spec: { eip: "d", internalIp: "10.0.0.1" } },
  ];
  const { desired } = after(emptyState, steps);
  const neighbourhood = runSync(AffectedSet.of(desired));
  t.ok(neighbourhood.hasOtherUsers(["fips/f", "eips/e"]));
  t.notOk(neighbourhood.hasOtherUsers(["fips/f", "eips/d", "snats/s"]), "a FIP is not left out");
  const { desired: without } = after({ ...emptyState, desired }, [{ kind: "snat", name: "s" }]);
  neighbourhood.update(desired, without, ["snats/s"]);
  t.notOk(neighbourhood.hasOtherUsers(["eips/e"]));
});
