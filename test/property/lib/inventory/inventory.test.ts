import fc from "fast-check";
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { type InventoryInput, inventory as inventoryChunked } from "../../../../lib/inventory/inventory.ts";
import { addressesInOrder, countSubnets } from "../../../../lib/inventory/subnets.ts";
import type { Spec } from "../../../../lib/kinds/registry.ts";
import {
  addressOf,
  type Cidr,
  type InterfaceAddress,
  type Ip,
  prefixLengthOf,
} from "../../../../lib/model/ip.ts";
import { contains, networkOf, rangeOf, reservedOf, toU32 } from "../../../../lib/model/ipv4.ts";
import { emptyLedger } from "../../../../lib/model/ledger.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";
import { routeProtocol } from "../../../../lib/plan/network/routes.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type StateChange } from "../../../../lib/state/state.ts";

const net1 = "net1" as InterfaceName;

const inventory = (given: InventoryInput) => runSync(inventoryChunked(given));

/** Few addresses, so that one IP has several roles. */
const ip = fc.integer({ min: 0, max: 15 }).map((last) => `203.0.113.${last}` as Ip);
const prefixLength = fc.constantFrom(24, 28, 29, 32);
const link = fc.constantFrom("net1", "eth0", "net2") as fc.Arbitrary<InterfaceName>;

const input: fc.Arbitrary<InventoryInput> = fc
  .record({
    eips: fc.array(fc.tuple(ip, prefixLength, fc.option(fc.constant("net2"), { nil: undefined })), {
      maxLength: 6,
    }),
    fips: fc.array(fc.nat(5), { maxLength: 4 }),
    observed: fc.array(fc.tuple(ip, prefixLength, link), { maxLength: 8 }),
    bound: fc.array(ip, { maxLength: 3 }),
    own: fc.array(ip, { maxLength: 2 }),
    orphans: fc.array(ip, { maxLength: 3 }),
    gateway: fc.option(ip, { nil: undefined }),
    contested: fc.array(ip, { maxLength: 2 }),
  })
  .map(({ eips, fips, observed, bound, own, orphans, gateway, contested }) => {
    let creation = 0;
    const put = (kind: "eip" | "fip", spec: unknown): StateChange => ({
      type: "put",
      kind,
      object: { spec: spec as Spec, revision: 1, creation: ++creation },
    });
    const { desired } = reduce(emptyState, [
      ...eips.map(([address, length, dev], index) =>
        put("eip", { name: `e${index}`, address: `${address}/${length}`, ...(dev && { interface: dev }) }),
      ),
      ...fips.map((eip, index) => put("fip", { name: `f${index}`, eip: `e${eip}`, internalIp: "10.0.0.1" })),
    ]);
    const network = {
      links: [],
      sysctls: new Map(),
      addresses: observed.map(([address, length, dev]) => ({
        interface: dev,
        address,
        prefixLength: length,
        isSecondary: false,
        label: "",
      })),
      routes: bound.map((address) => ({
        table: 255,
        type: "local" as const,
        destination: `${address}/32` as never,
        via: undefined,
        interface: net1,
        protocol: routeProtocol,
        metric: 77,
        isOnlink: false,
      })),
    };
    const ledger = emptyLedger;
    return {
      desired,
      network,
      own: new Set(own),
      orphans: new Set(orphans),
      ledger,
      gateway,
      externalInterface: net1,
      contested: new Set(contested),
    };
  });

t.test("every IP occurs once, with all its roles considered", async () => {
  fc.assert(
    fc.property(input, (given) => {
      const { addresses } = inventory(given);
      const ips = addresses.map((entry) => entry.ip);
      const desired = [...given.desired.eips.values()].map(({ spec }) => spec.address.split("/")[0]);
      const named = new Set([...given.desired.eips.values()].flatMap(({ spec }) => spec.interface ?? []));
      const covered = given.network.addresses.filter(
        (seen) => seen.interface === net1 || named.has(seen.interface),
      );
      const union = new Set<string | undefined>([
        ...desired,
        ...[
          ...covered.map(({ address }) => address),
          ...given.network.routes.map(({ destination }) => addressOf(destination)),
        ].filter((seen) => given.own.has(seen) || given.orphans.has(seen)),
        ...(given.gateway === undefined ? [] : [given.gateway]),
      ]);
      const isSorted = ips.every((one, index) => index === 0 || toU32(ips[index - 1] ?? one) < toU32(one));
      return isSorted && ips.length === union.size && ips.every((one) => union.has(one));
    }),
  );
});

t.test("roles and users", async () => {
  fc.assert(
    fc.property(input, (given) =>
      inventory(given).addresses.every(({ ip, role, users }) => {
        const eips = [...given.desired.eips.values()].filter(({ spec }) => spec.address.startsWith(`${ip}/`));
        const isHeld = given.own.has(ip) || given.gateway === ip || given.contested.has(ip);
        const isDesired = eips.length > 0;
        const fips = [...given.desired.fips.values()].filter(({ spec }) =>
          eips.some((eip) => eip.spec.name === spec.eip),
        );
        if (users.length !== eips.length + fips.length || new Set(users).size !== users.length) return false;
        switch (role) {
          case "conflict":
            return isDesired && isHeld;
          case "eip":
            return isDesired && !isHeld;
          case "self":
            return !isDesired && given.own.has(ip);
          case "gateway":
            return !isDesired && given.gateway === ip && !given.own.has(ip);
          case "orphan":
            return !isDesired && !given.own.has(ip) && given.gateway !== ip && given.orphans.has(ip);
          default:
            return false;
        }
      }),
    ),
  );
});

t.test("subnets never overlap and never count an IP twice", async (t) => {
  fc.assert(
    fc.property(input, (given) => {
      const { addresses, subnets } = inventory(given);
      const used = subnets.reduce((sum, subnet) => sum + subnet.used, 0);
      return (
        used <= addresses.length &&
        subnets.every(({ capacity, used, free }) => capacity === used + free && used >= 0 && free >= 0)
      );
    }),
  );
  const { subnets } = inventory({
    desired: emptyState.desired,
    network: { links: [], routes: [], sysctls: new Map(), addresses: [] },
    own: new Set(),
    orphans: new Set(),
    ledger: emptyLedger,
    gateway: "203.0.113.1" as Ip,
    externalInterface: net1,
    contested: new Set(),
  });
  t.same(subnets, [], "a gateway alone is no subnet");
});

t.test("an address that the next pass removes is no orphan", async (t) => {
  const entry = { interface: "net2" as InterfaceName, address: "198.51.100.9" as Ip, prefixLength: 24 };
  const base = {
    desired: emptyState.desired,
    network: {
      links: [],
      routes: [],
      sysctls: new Map(),
      addresses: [{ ...entry, isSecondary: false, label: "" }],
    },
    own: new Set<Ip>(),
    orphans: new Set<Ip>(),
    gateway: undefined,
    externalInterface: net1,
    contested: new Set<Ip>(),
  };
  t.same(inventory({ ...base, ledger: emptyLedger }).addresses, [], "somebody else's interface");
  const ledger = { ...emptyLedger, addresses: new Map([["key", entry]]) };
  t.same(inventory({ ...base, ledger }).addresses, [], "the agent's own, no longer desired");
  const orphans = new Set([entry.address]);
  t.same(inventory({ ...base, orphans, ledger: emptyLedger }).addresses, [], "not on a covered interface");
  t.match(inventory({ ...base, orphans, ledger }).addresses, [
    { ip: "198.51.100.9", role: "orphan", interface: "net2" },
  ]);
});

t.test(
  "an IP with two prefix lengths belongs to the wider subnet; network and broadcast are no host addresses",
  async (t) => {
    const on = (address: string, prefixLength: number) => ({
      interface: net1,
      address: address as Ip,
      prefixLength,
      isSecondary: false,
      label: "",
    });
    const seen = inventory({
      desired: emptyState.desired,
      network: {
        links: [],
        routes: [],
        sysctls: new Map(),
        addresses: [
          on("203.0.113.9", 32),
          on("203.0.113.9", 29),
          on("203.0.113.9", 32),
          on("203.0.113.8", 32),
          on("203.0.113.15", 32),
          on("198.51.100.1", 32),
        ],
      },
      own: new Set(),
      orphans: new Set(["203.0.113.9", "203.0.113.8", "203.0.113.15", "198.51.100.1"] as Ip[]),
      ledger: emptyLedger,
      gateway: undefined,
      externalInterface: net1,
      contested: new Set(),
    });
    t.equal(seen.addresses.length, 4);
    t.same(seen.subnets, [
      { cidr: "198.51.100.1/32", capacity: 1, used: 1, free: 0 },
      { cidr: "203.0.113.8/29", capacity: 6, used: 1, free: 5 },
    ]);
  },
);

/** The simple version: compares all subnets with each other, and every address with every subnet. */
function subnetsPlainly({ addresses }: ReturnType<typeof inventory>, networks: readonly Cidr[]) {
  const sorted = [...new Set(networks)].sort(
    (one, other) => prefixLengthOf(one) - prefixLengthOf(other) || rangeOf(one)[0] - rangeOf(other)[0],
  );
  const kept: Cidr[] = [];
  for (const cidr of sorted) if (!kept.some((wider) => contains(wider, addressOf(cidr)))) kept.push(cidr);
  return kept
    .sort((one, other) => rangeOf(one)[0] - rangeOf(other)[0])
    .map((cidr) => {
      const [first, last] = rangeOf(cidr);
      const reserved = reservedOf(cidr);
      const capacity = last - first + 1 - (reserved === undefined ? 0 : 2);
      const used = addresses.filter(
        ({ ip }) => contains(cidr, ip) && ip !== reserved?.network && ip !== reserved?.broadcast,
      ).length;
      return { cidr, capacity, used, free: capacity - used };
    });
}

t.test("subnets match a comparison of all addresses and Eips one by one", async (t) => {
  const anywhere = fc
    .tuple(fc.nat(3), fc.constantFrom(0, 1, 127, 255), fc.nat(255), fc.integer({ min: 0, max: 32 }))
    .map(([a, b, c, length]) => `10.${a}.${b}.${c}/${length}`);
  fc.assert(
    fc.property(fc.array(anywhere, { maxLength: 40 }), (addresses) => {
      const puts = addresses.map((address, index): unknown => ({
        type: "put",
        kind: "eip",
        object: { spec: { name: `e${index}`, address }, revision: 1, creation: index + 1 },
      }));
      const { desired } = reduce(emptyState, puts as StateChange[]);
      const found = inventory({
        desired,
        network: { links: [], routes: [], sysctls: new Map(), addresses: [] },
        own: new Set(),
        orphans: new Set(),
        ledger: emptyLedger,
        gateway: undefined,
        externalInterface: net1,
        contested: new Set(),
      });
      // An IP that two Eips name with different prefixes lies in the subnets of both.
      const networks = [...desired.eips.values()].map(({ spec }) => networkOf(spec.address));
      t.strictSame(found.subnets, subnetsPlainly(found, networks));
    }),
    { numRuns: 300 },
  );
});

t.test("ten times the Eips, ten times the work, whatever the subnets, and never much at once", async (t) => {
  const shapes: Record<string, (index: number) => string> = {
    "a subnet each": (index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/32`,
    "one subnet": (index) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/8`,
    "subnets within subnets": (index) =>
      `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/${8 + (index % 25)}`,
  };
  for (const [shape, addressAt] of Object.entries(shapes)) {
    const stepsOf = (count: number) => {
      const puts = Array.from({ length: count }, (_, index): unknown => ({
        type: "put",
        kind: "eip",
        object: { spec: { name: `e${index}`, address: addressAt(index) }, revision: 1, creation: index + 1 },
      }));
      const { desired } = reduce(emptyState, puts as StateChange[]);
      // Counts the accesses to stored Eips, and how many happen between two turns of the event loop.
      let looks = 0;
      let most = 0;
      const counted = new Map(desired.eips);
      counted[Symbol.iterator] = function* () {
        for (const entry of Map.prototype.entries.call(counted)) {
          looks++;
          yield entry as never;
        }
        return undefined;
      } as never;
      const parts = inventoryChunked({
        desired: { ...desired, eips: counted },
        network: { links: [], routes: [], sysctls: new Map(), addresses: [] },
        own: new Set(),
        orphans: new Set(),
        ledger: emptyLedger,
        gateway: undefined,
        externalInterface: net1,
        contested: new Set(),
      });
      let before = 0;
      let turns = 1;
      while (!parts.next().done) {
        turns++;
        most = Math.max(most, looks - before);
        before = looks;
      }
      return { looks, most, turns };
    };
    const [small, large] = [stepsOf(2_000), stepsOf(20_000)];
    t.equal(large.looks, 10 * small.looks, shape);
    t.ok(large.most <= 2_000, `${shape}: ${large.most} Eips at once`);
    t.ok(large.turns >= 20_000 / 2_000, `${shape}: ${large.turns} turns`);
  }
});

t.test("counting subnets looks at each address a few times, however many subnets there are", async (t) => {
  const count = 8_000;
  const ips = Array.from({ length: count }, (_, index) => `10.0.${index >> 8}.${index & 255}` as Ip);
  const inOrder = runSync(addressesInOrder(new Set(ips)));
  for (const length of [8, 24, 30, 32]) {
    let looks = 0;
    let most = 0;
    const counted = new Proxy(inOrder, {
      get: (list, key) => {
        looks++;
        return Reflect.get(list, key);
      },
    });
    const networks = new Set(ips.map((address) => networkOf(`${address}/${length}` as InterfaceAddress)));
    const parts = countSubnets(networks, counted);
    let before = 0;
    let next = parts.next();
    for (; !next.done; next = parts.next()) {
      most = Math.max(most, looks - before);
      before = looks;
    }
    t.equal(next.value.length, networks.size);
    t.ok(looks <= 3 * count, `/${length}: ${looks} looks at ${count} addresses`);
    t.ok(most <= 4_500, `/${length}: ${most} looks at once`);
  }
});
