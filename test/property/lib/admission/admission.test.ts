import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { tombstoneMs } from "../../../../lib/admission/uids.ts";
import { type Claimants, findClashes } from "../../../../lib/compile/clashes.ts";
import { compile } from "../../../../lib/compile/compile.ts";
import type { CompileContext } from "../../../../lib/kinds/compilation.ts";
import type { Dnat } from "../../../../lib/kinds/dnat.ts";
import type { ConnectedSubnet, Facts } from "../../../../lib/kinds/facts.ts";
import type { Limit } from "../../../../lib/kinds/limit.ts";
import { recordOf, type Spec, type SpecOf } from "../../../../lib/kinds/registry.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { type Ip, prefixLengthOf } from "../../../../lib/model/ip.ts";
import {
  contains,
  fromU32,
  ipv4,
  makeCidr,
  networkOf,
  rangeOf,
  reservedOf,
} from "../../../../lib/model/ipv4.ts";
import {
  type InterfaceName,
  type Kind,
  kinds,
  type ObjectId,
  type ObjectName,
  objectId,
} from "../../../../lib/model/names.ts";
import { bucketsOf } from "../../../../lib/model/program.ts";
import type { Stored } from "../../../../lib/model/stored.ts";
import { type Desired, objectsOf } from "../../../../lib/state/desired.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import type { StateChange } from "../../../../lib/state/state.ts";
import { type Plain, World } from "../../../support/admission.ts";

/** Few names and addresses, so that writes collide often. */
const letter = fc.constantFrom("a", "b", "c", "d");
const uid = fc.option(fc.constantFrom("u1", "u2", "u3", "u4"), { nil: undefined });
const internalIp = fc.constantFrom("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.3");
const direction = fc.constantFrom("ingress", "egress");
const own = "10.0.0.3" as Ip;
const ownOutside = "203.0.113.7" as Ip;

const specOf: { [K in Kind]: fc.Arbitrary<Plain> } = {
  eip: fc.record(
    {
      name: letter,
      uid,
      address: fc.constantFrom(
        "203.0.113.6/29",
        "203.0.113.6/32",
        "203.0.113.5/29",
        "203.0.113.0/29",
        "203.0.113.7/24",
        "10.0.0.6/25",
        "10.0.0.6/32",
      ),
      leaseSeconds: fc.constantFrom(10, 100),
      bound: fc.boolean(),
    },
    { requiredKeys: ["name", "address"] },
  ),
  fip: fc.record(
    { name: letter, uid, eip: letter, internalIp },
    { requiredKeys: ["name", "eip", "internalIp"] },
  ),
  snat: fc.record(
    {
      name: letter,
      uid,
      eip: letter,
      internalCIDR: fc.constantFrom("10.0.0.9/24", "10.0.0.1/32", "0.0.0.0/0"),
    },
    { requiredKeys: ["name", "eip", "internalCIDR"] },
  ),
  dnat: fc.oneof(
    fc.record({
      name: letter,
      eip: letter,
      protocol: fc.constantFrom("tcp", "udp"),
      externalPort: fc.constantFrom(80, 81),
      internalIp,
      internalPort: fc.constant(8080),
    }),
    fc.record({
      name: letter,
      eip: letter,
      protocol: fc.constant("tcp"),
      externalPort: fc.constantFrom(80, 81),
      backends: fc.uniqueArray(fc.record({ ip: internalIp, port: fc.constant(1) }), {
        maxLength: 2,
        selector: (backend) => backend.ip,
      }),
    }),
  ),
  limit: fc.oneof(
    fc.record({ name: letter, eip: letter, direction, rateMbit: fc.constantFrom(10, 0.5) }),
    fc.record(
      {
        name: letter,
        interface: fc.constantFrom("vpc", "eth0", "external", "net1", "net2"),
        direction,
        rateMbit: fc.constant(10),
        match: fc.constantFrom({ src: "10.0.0.9/24" }, { dst: "10.0.0.0/24" }),
      },
      { requiredKeys: ["name", "interface", "direction", "rateMbit"] },
    ),
  ),
  route: fc.record({
    name: letter,
    destination: fc.constantFrom("0.0.0.0/0", "203.0.113.4/30", "10.1.0.0/16", "10.1.2.3/16", "10.2.0.0/16"),
    via: fc.constant("10.0.0.254"),
  }),
};

const kind = fc.constantFrom(...kinds);
const kindAndSpec = kind.chain((kind) => fc.record({ kind: fc.constant(kind), spec: specOf[kind] }));

function manyOf(kind: Kind) {
  return fc.uniqueArray(specOf[kind], { maxLength: 4, selector: (spec) => spec.name });
}
const objects = fc.record({
  eips: manyOf("eip"),
  fips: manyOf("fip"),
  snats: manyOf("snat"),
  dnats: manyOf("dnat"),
  limits: manyOf("limit"),
  routes: manyOf("route"),
});
/** A few objects of any kinds, by collection. */
const handful = fc
  .uniqueArray(kindAndSpec, { maxLength: 3, selector: ({ kind, spec }) => `${kind} ${spec.name}` })
  .map((picked) =>
    Object.fromEntries(
      kinds.map((kind) => [`${kind}s`, picked.filter((one) => one.kind === kind).map(({ spec }) => spec)]),
    ),
  );
const names = fc.uniqueArray(letter, { maxLength: 2 });

type Write = (world: World) => unknown;
const ifMatch = fc.constantFrom("none", "none", "stale", "present");
function tagsOf(world: World, what: string) {
  if (what === "none") return undefined;
  return [world.state.desired.revision - (what === "stale" ? 1 : 0)];
}

/** Writes that must be refused if they add a clash, whatever the state is. */
const judgedWrite: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 6,
    arbitrary: kindAndSpec.map(
      ({ kind, spec }) =>
        (world: World) =>
          world.put(kind, spec),
    ),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({ kind, name: letter, uid, isCascading: fc.boolean() })
      .map(({ kind, name, uid, isCascading }) => (world: World) => {
        world.delete(kind, name, { isCascading, ...(uid === undefined ? {} : { uid }) });
      }),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({ upsert: handful, delete: fc.record({ eips: names, fips: names, dnats: names }) })
      .map((batch) => (world: World) => world.batch(batch)),
  },
  { weight: 1, arbitrary: names.map((names) => (world: World) => world.renew(names)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(1, 9_000, tombstoneMs).map((ms) => (world: World) => world.pass(ms)),
  },
);
const anyWrite: fc.Arbitrary<Write> = fc.oneof(
  { weight: 4, arbitrary: judgedWrite },
  {
    weight: 1,
    arbitrary: fc.record({ set: objects, generation: fc.nat({ max: 6 }), ifMatch }).map(
      ({ set, generation, ifMatch }) =>
        (world: World) =>
          world.set({ ...set, generation }, tagsOf(world, ifMatch)),
    ),
  },
);

function upTo(maxLength: number, write: fc.Arbitrary<Write>): fc.Arbitrary<Write[]> {
  return fc.array(write, { maxLength, size: "max" });
}

function newWorld(): World {
  const world = new World();
  world.ownAddresses = new Set([own, ownOutside]);
  world.fallbackGateway = "203.0.113.5" as Ip;
  world.connectedSubnets = [
    { interface: "eth0", cidr: "10.0.0.0/24" },
    { interface: "net1", cidr: "203.0.113.0/29" },
    { interface: "net2", cidr: "203.0.113.0/29" },
  ] as ConnectedSubnet[];
  return world;
}

/**
 * Runs a write. Refusals are allowed, any other error is a failure.
 * @returns whether it was accepted
 */
function attempt(world: World, write: Write): boolean {
  try {
    write(world);
    return true;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return false;
  }
}

/** The reference: compares every pair of objects, older first, as close to the contract as possible. */
function slowClashes(desired: Claimants, facts: Facts): Set<ObjectId> {
  const all = kinds
    .flatMap((kind) =>
      [...objectsOf(desired, kind).values()].map((stored) => ({ kind, ...(stored as Stored<Spec>) })),
    )
    .sort((one, other) => one.creation - other.creation);
  const gateway = desired.gateway.defaultGateway ?? facts.fallbackGateway;
  const marked = new Set<ObjectId>();
  const kept: typeof all = [];
  for (const object of all) {
    const { kind, spec } = object;
    const isBad =
      ipsOf(spec).some((ip) => facts.ownAddresses.has(ip)) ||
      ("address" in spec && (spec.address.startsWith(`${gateway}/`) || isReserved(spec.address))) ||
      ("address" in spec && eclipses(spec, facts)) ||
      ("destination" in spec && gateway !== undefined && contains(spec.destination, gateway));
    if (isBad || kept.some((older) => excludes(older, object))) marked.add(objectId(kind, spec.name));
    else kept.push(object);
  }
  return marked;
}

/**
 * Whether every address of the EIP's network lies in a subnet of an interface that is not its own, and its own has no address in just
 * that network.
 */
function eclipses({ address, interface: name }: SpecOf["eip"], facts: Facts): boolean {
  const network = networkOf(address);
  const [first, last] = rangeOf(network).map(fromU32);
  if (first === undefined || last === undefined || first === last) return false;
  const on = name ?? facts.externalInterface;
  const subnets = facts.connectedSubnets ?? [];
  if (subnets.some((subnet) => subnet.interface === on && subnet.cidr === network)) return false;
  return subnets.some(
    (subnet) => subnet.interface !== on && contains(subnet.cidr, first) && contains(subnet.cidr, last),
  );
}

function ipsOf(spec: Spec): Ip[] {
  if ("address" in spec) return [spec.address.split("/")[0] as Ip];
  const ips = "internalIp" in spec && spec.internalIp !== undefined ? [spec.internalIp] : [];
  return [...ips, ...(("backends" in spec && spec.backends) || []).map((backend) => backend.ip)];
}

function isReserved(address: SpecOf["eip"]["address"]): boolean {
  const [ip] = ipsOf({ address } as Spec);
  const reserved = reservedOf(makeCidr(ip as Ip, prefixLengthOf(address)));
  return reserved?.network === ip || reserved?.broadcast === ip;
}

function excludes(one: { kind: Kind; spec: Spec }, other: { kind: Kind; spec: Spec }): boolean {
  const pair = [one.kind, other.kind].sort().join();
  const [a, b] = [one.spec, other.spec];
  const isSameEip = "eip" in a && "eip" in b && a.eip === b.eip;
  if (pair === "eip,eip") return ipsOf(a)[0] === ipsOf(b)[0];
  if (pair === "fip,fip") return isSameEip;
  if (pair === "dnat,dnat") return isSameEip && portOf(a as Dnat) === portOf(b as Dnat);
  if (pair === "snat,snat")
    return isSameEip && Reflect.get(a, "internalCIDR") === Reflect.get(b, "internalCIDR");
  if (pair === "limit,limit") return limited(a as Limit) === limited(b as Limit);
  if (pair === "route,route") return Reflect.get(a, "destination") === Reflect.get(b, "destination");
  if (one.kind === other.kind) throw new Error(`when do two objects of kind ${one.kind} exclude each other?`);
  return false;
}

function limited({ eip, interface: name, direction, match }: Limit): string {
  const devices: Readonly<Record<string, string>> = { vpc: "eth0", external: "net1" };
  const device = devices[String(name)] ?? name;
  return JSON.stringify([eip, device, direction, match]);
}

function portOf(spec: Dnat): string {
  return `${spec.protocol}/${spec.externalPort}`;
}

t.test("after any writes the clashes match the reference", (t) => {
  fc.assert(
    fc.property(upTo(12, anyWrite), (writes) => {
      const world = newWorld();
      for (const write of writes) attempt(world, write);
      const { facts } = world.context;
      const found = new Set(findClashes(world.state.desired, facts).keys());
      assert.deepEqual(found, slowClashes(world.state.desired, facts));
    }),
    { numRuns: 400 },
  );
  t.pass();
  t.end();
});

t.test("single writes and batches never leave a clash where there was none", (t) => {
  let accepted = 0;
  fc.assert(
    fc.property(upTo(20, judgedWrite), (writes) => {
      const world = newWorld();
      for (const write of writes) if (attempt(world, write)) accepted++;
      assert.equal(slowClashes(world.state.desired, world.context.facts).size, 0);
    }),
    { numRuns: 300 },
  );
  t.ok(accepted > 500, `and many are accepted: ${accepted}`);
  t.end();
});

t.test("a batch is refused if and only if its result brings a clash, out of any state", (t) => {
  const outcomes = { accepted: 0, refused: 0 };
  fc.assert(
    fc.property(upTo(6, anyWrite), handful, (writes, specs) => {
      const world = newWorld();
      for (const write of writes) attempt(world, write);
      const { state } = world;
      const { facts } = world.context;
      const upsert = withoutUids(specs);
      let creation = state.nextCreation;
      const puts = kinds.flatMap((kind) =>
        (upsert[`${kind}s`] ?? []).map((plain): StateChange & { type: "put" } => {
          const spec = recordOf(kind).canonical(plain as unknown as SpecOf[Kind]);
          const stored = objectsOf(state.desired, kind).get(spec.name);
          return {
            type: "put",
            kind,
            object: { spec, revision: 0, creation: stored?.creation ?? creation++ },
          };
        }),
      );
      const written = new Set(puts.map(({ kind, object }) => objectId(kind, object.spec.name)));
      const before = slowClashes(state.desired, facts);
      const after = slowClashes(reduce(state, puts).desired, facts);
      const isClean = [...after].every((id) => before.has(id) && !written.has(id));
      assert.equal(
        attempt(world, () => world.batch({ upsert })),
        isClean,
      );
      outcomes[isClean ? "accepted" : "refused"]++;
    }),
    { numRuns: 500 },
  );
  t.ok(Math.min(outcomes.accepted, outcomes.refused) > 50, JSON.stringify(outcomes));
  t.end();
});

function withoutUids(specs: Record<string, Plain[]>): Record<string, Plain[]> {
  const strip = ({ uid, ...spec }: Plain): Plain => ({ ...spec, name: spec.name });
  return Object.fromEntries(Object.entries(specs).map(([kind, list]) => [kind, list.map(strip)]));
}

t.test("revisions, creation numbers and tombstones stay consistent after any write", (t) => {
  fc.assert(
    fc.property(upTo(15, anyWrite), (writes) => {
      const world = newWorld();
      for (const write of writes) {
        const before = world.state;
        attempt(world, write);
        const { desired, nextCreation, leases, lastFullSet } = world.state;
        assert.ok(
          desired.revision - before.desired.revision <= 1 && desired.revision >= before.desired.revision,
        );
        assert.ok(nextCreation >= before.nextCreation);
        assert.equal(desired.generation, lastFullSet?.generation ?? 0);
        assert.equal(world.state.isSet, desired.revision > 0);
        const creations: number[] = [];
        for (const kind of kinds) {
          const stored: Stored<Spec>[] = [...objectsOf(desired, kind).values()];
          const numbers = stored.map((object) => object.creation);
          assert.deepEqual(
            numbers,
            numbers.toSorted((one, other) => one - other),
            "maps are in order of creation",
          );
          creations.push(...numbers);
          for (const { spec, revision } of stored) {
            assert.ok(revision <= desired.revision);
            assert.equal(
              JSON.stringify(recordOf<Kind>(kind).canonical(spec)),
              JSON.stringify(spec),
              "stored is canonical",
            );
          }
        }
        assert.equal(new Set(creations).size, creations.length);
        assert.ok(creations.every((creation) => creation < nextCreation));
        const leased = [...desired.eips.values()].filter(({ spec }) => spec.leaseSeconds !== undefined);
        assert.deepEqual(new Set(leases.keys()), new Set(leased.map(({ spec }) => spec.name)));
        const untils = [...world.state.tombstones.values()];
        assert.deepEqual(
          untils,
          untils.toSorted((one, other) => one - other),
        );
      }
    }),
    { numRuns: 200 },
  );
  t.pass();
  t.end();
});

t.test("a replay in any order is recognized and changes nothing desired", (t) => {
  const shuffled = objects.chain((set) =>
    fc.record({
      set: fc.constant(set),
      again: fc.record({
        eips: permuted(set.eips),
        fips: permuted(set.fips),
        snats: permuted(set.snats),
        dnats: permuted(set.dnats),
        limits: permuted(set.limits),
        routes: permuted(set.routes),
      }),
    }),
  );
  fc.assert(
    fc.property(shuffled, upTo(4, judgedWrite), ({ set, again }, writes) => {
      const world = newWorld();
      world.set({ ...set, generation: 5 });
      world.pass(1);
      for (const write of writes) attempt(world, write);
      const { desired, tombstones } = world.state;
      const decision = world.set({ ...again, generation: 5 }, [-1]);
      assert.equal(decision.isReplay, true);
      assert.deepEqual(plain(world.state.desired), plain(desired));
      assert.ok([...world.state.tombstones.keys()].every((key) => tombstones.has(key)));
    }),
    { numRuns: 150 },
  );
  t.pass();
  t.end();
});

/** The desired set in comparable form, without the revision. */
function plain({ revision: _, ...desired }: Desired): unknown {
  return { ...desired, ...Object.fromEntries(kinds.map((kind) => [kind, [...objectsOf(desired, kind)]])) };
}

function permuted<T>(items: readonly T[]): fc.Arbitrary<T[]> {
  return fc.shuffledSubarray([...items], { minLength: items.length, maxLength: items.length });
}

t.test("a lower generation is accepted only with the current revision in If-Match", (t) => {
  const sets = fc.array(fc.record({ generation: fc.nat({ max: 5 }), eips: manyOf("eip"), ifMatch }), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(sets, (sets) => {
      const world = newWorld();
      for (const { ifMatch, ...set } of sets) {
        const before = world.state.desired.generation;
        attempt(world, (world) => world.set(set, tagsOf(world, ifMatch)));
        if (ifMatch !== "present") assert.ok(world.state.desired.generation >= before);
      }
    }),
  );
  t.pass();
  t.end();
});

t.test("a delayed PUT never resurrects a life that was ended within the day", (t) => {
  fc.assert(
    fc.property(upTo(10, anyWrite), kindAndSpec, upTo(5, judgedWrite), (earlier, { kind, spec }, later) => {
      const world = newWorld();
      for (const write of earlier) attempt(world, write);
      const late = { ...spec, uid: "late" };
      attempt(world, () => world.put(kind, late));
      attempt(world, () => world.delete(kind, spec.name, { uid: "late", isCascading: true }));
      const deletedMs = world.now.wallMs;
      for (const write of later) {
        attempt(world, write);
        const isAccepted = [
          attempt(world, () => world.put(kind, late)),
          attempt(world, () => world.batch({ upsert: { [`${kind}s`]: [late] } })),
          attempt(world, () => world.set({ generation: 100, [`${kind}s`]: [late] })),
        ].some(Boolean);
        if (world.now.wallMs < deletedMs + tombstoneMs) assert.ok(!isAccepted);
        else return;
      }
    }),
    { numRuns: 300 },
  );
  t.pass();
  t.end();
});

t.test("canonical form: a round trip through JSON and itself changes nothing", (t) => {
  fc.assert(
    fc.property(kindAndSpec, ({ kind, spec }) => {
      const once = recordOf(kind).canonical(spec as unknown as SpecOf[Kind]);
      const text = JSON.stringify(once);
      assert.equal(JSON.stringify(recordOf(kind).canonical(JSON.parse(text))), text);
      const backwards = Object.fromEntries(Object.entries(spec).reverse());
      assert.equal(JSON.stringify(recordOf(kind).canonical(backwards as unknown as SpecOf[Kind])), text);
      assert.ok(!Object.values(once).includes(undefined));
    }),
    { numRuns: 300 },
  );
  t.pass();
  t.end();
});

t.test("compile places every object once, and never two on one identity", (t) => {
  const quarantine = fc.uniqueArray(
    fc.record({ kind, name: letter }).map(({ kind, name }) => objectId(kind, name)),
    { maxLength: 3 },
  );
  fc.assert(
    fc.property(upTo(10, anyWrite), quarantine, names, (writes, quarantined, expired) => {
      const world = newWorld();
      for (const write of writes) attempt(world, write);
      const context: CompileContext = {
        ...world.context.facts,
        family: ipv4,
        vpcInterface: "eth0" as InterfaceName,
        externalInterface: "net1" as InterfaceName,
        expiredLeases: new Set(expired as string[] as ObjectName[]),
        addressConflicts: new Map([["203.0.113.6" as Ip, "02:00:00:00:00:01"]]),
        quarantined: new Map(quarantined.map((id) => [id, "no"])),
        missingInterfaces: new Set(),
      };
      const { program, blocked, idle, shadowed } = compile(world.state.desired, context);
      const members = program.pools.flatMap((pool) => pool.members);
      const { limits = [] } = program;
      const programmed = [program.eips, program.fips, program.dnats, program.routes, members, limits].flat();
      const placed = [...programmed.map((entry) => entry.id), ...blocked.keys(), ...idle.keys()];
      const all = kinds.flatMap((kind) =>
        [...objectsOf(world.state.desired, kind).keys()].map((name) => objectId(kind, name)),
      );
      assert.deepEqual(placed.toSorted(), all.toSorted());

      const isUnique = (keys: string[]) => new Set(keys).size === keys.length;
      assert.ok(isUnique(program.eips.map((eip) => eip.address)));
      assert.ok(isUnique(program.fips.map((fip) => fip.eip)));
      assert.ok(isUnique(program.dnats.map((dnat) => `${dnat.eip} ${dnat.protocol} ${dnat.externalPort}`)));
      assert.ok(isUnique(program.pools.map((pool) => `${pool.cidr} ${pool.interface}`)));
      assert.ok(isUnique(program.routes.map((route) => route.destination)));
      assert.ok(isUnique(program.fips.filter((fip) => fip.isOutward).map((fip) => fip.internalIp)));
      assert.equal(
        new Set(program.fips.map((fip) => fip.internalIp)).size,
        program.fips.filter((f) => f.isOutward).length,
      );
      const held = new Set(program.eips.map((eip) => eip.address));
      const unbound = (program.unboundEips ?? []).map((eip) => eip.address);
      assert.ok(isUnique(unbound) && unbound.every((address) => !held.has(address)));
      const eips = held.union(new Set(unbound));
      for (const { eip } of [...program.fips, ...program.dnats, ...members]) assert.ok(eips.has(eip));
      for (const { target } of limits) assert.ok(target.kind !== "eip" || eips.has(target.eip));
      const { dnats, fips } = world.state.desired;
      const isIn = (id: ObjectId) => !blocked.has(id);
      const inVain = [...dnats.values()].flatMap(({ spec: { name, eip } }) => {
        const fip = [...fips.values()].find(({ spec }) => spec.eip === eip && isIn(`fips/${spec.name}`));
        return fip !== undefined && isIn(`dnats/${name}`) ? [[`dnats/${name}`, `fips/${fip.spec.name}`]] : [];
      });
      assert.deepEqual([...shadowed], inVain);
      for (const pool of program.pools)
        assert.equal(new Set(bucketsOf(pool, ipv4)).size, pool.members.length, "no idle member");
    }),
    { numRuns: 300 },
  );
  t.pass();
  t.end();
});
