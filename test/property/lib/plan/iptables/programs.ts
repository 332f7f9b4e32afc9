/** Random programs with few names and addresses, so that keys often collide. */
import fc from "fast-check";
import type { Cidr, Ip } from "../../../../../lib/model/ip.ts";
import { ipv4, makeCidr, parseCidr, parseIp } from "../../../../../lib/model/ipv4.ts";
import { objectId, parseInterfaceName } from "../../../../../lib/model/names.ts";
import type {
  PoolMember,
  Program,
  ProgramDnat,
  ProgramFip,
  SnatPool,
} from "../../../../../lib/model/program.ts";
import type { Backend } from "../../../../../lib/model/schema.ts";

export function ip(text: string): Ip {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

export function cidr(text: string): Cidr {
  const network = parseCidr(text);
  if (network === undefined) throw new Error(`not a network: ${text}`);
  return network;
}

export function iface(text: string) {
  const name = parseInterfaceName(text);
  if (name === undefined) throw new Error(`not an interface: ${text}`);
  return name;
}

export const emptyProgram: Program = {
  family: ipv4,
  vpcInterface: iface("eth0"),
  externalInterface: iface("net1"),
  defaultGateway: undefined,
  eips: [],
  fips: [],
  dnats: [],
  pools: [],
  routes: [],
};

const small = fc.integer({ min: 1, max: 9 });
const eip = small.map((n) => ip(`203.0.113.${n}`));
const inner = small.map((n) => ip(`10.0.0.${n}`));
const backend: fc.Arbitrary<Backend> = fc.record({ ip: inner, port: fc.integer({ min: 1, max: 3 }) });

const eips = fc.uniqueArray(eip, { maxLength: 6 }).map((addresses) =>
  addresses.map((address) => ({
    id: objectId("eip", `e-${address}`),
    address,
    prefixLength: 24,
    interface: iface("net1"),
  })),
);

const fips = fc
  .uniqueArray(fc.record({ eip, internalIp: inner }), { selector: (fip) => fip.eip, maxLength: 6 })
  .map((list) => {
    const seen = new Set<Ip>();
    return list.map((fip): ProgramFip => {
      const isOutward = !seen.has(fip.internalIp);
      seen.add(fip.internalIp);
      return { ...fip, id: objectId("fip", `f-${fip.eip}`), isOutward };
    });
  });

const dnats = fc
  .uniqueArray(
    fc.record({
      eip,
      protocol: fc.constantFrom("tcp", "udp", "sctp"),
      externalPort: fc.integer({ min: 80, max: 82 }),
      backends: fc
        .tuple(backend, backend, backend, backend)
        .chain(([head, ...tail]) =>
          fc.subarray(tail).map((rest): [Backend, ...Backend[]] => [head, ...rest]),
        ),
    }),
    { selector: (dnat) => `${dnat.eip} ${dnat.protocol} ${dnat.externalPort}`, maxLength: 6 },
  )
  .map((list) =>
    list.map(
      (dnat): ProgramDnat => ({
        ...dnat,
        id: objectId("dnat", `d-${dnat.eip}-${dnat.protocol}-${dnat.externalPort}`),
      }),
    ),
  );

const member = fc.record({ eip, mapping: fc.constantFrom("random", "preserve") });

const pools = fc
  .uniqueArray(
    fc.record({
      cidr: fc
        .tuple(inner, fc.constantFrom(0, 8, 16, 24, 28, 30, 31, 32))
        .map(([address, length]) => makeCidr(address, length)),
      interface: fc.constantFrom(iface("net1"), iface("net2")),
      members: fc.uniqueArray(member, { selector: (one) => one.eip, minLength: 1, maxLength: 3 }),
    }),
    { selector: (pool) => `${pool.cidr} ${pool.interface}`, maxLength: 8 },
  )
  .map((list) => list.map(toPool).sort((a, b) => prefix(b) - prefix(a) || (a.cidr < b.cidr ? -1 : 1)));

function toPool(pool: {
  cidr: SnatPool["cidr"];
  interface: SnatPool["interface"];
  members: Omit<PoolMember, "id">[];
}): SnatPool {
  const members = pool.members.map(
    (one): PoolMember => ({
      ...one,
      id: objectId("snat", `s-${one.eip}-${pool.cidr.replace("/", "-")}-${pool.interface}`),
    }),
  );
  const [first, ...rest] = members;
  if (first === undefined) throw new Error("a pool without members");
  return { ...pool, members: pool.cidr.endsWith("/32") ? [first] : [first, ...rest] };
}

function prefix(pool: SnatPool): number {
  return Number(pool.cidr.slice(pool.cidr.indexOf("/") + 1));
}

export const program: fc.Arbitrary<Program> = fc.record({
  family: fc.constant(ipv4),
  vpcInterface: fc.constant(emptyProgram.vpcInterface),
  externalInterface: fc.constant(emptyProgram.externalInterface),
  defaultGateway: fc.constant(undefined),
  eips,
  fips,
  dnats,
  pools,
  routes: fc.constant([]),
});

/** The same with lists of backends, with and without session affinity. */
export const listProgram: fc.Arbitrary<Program> = program.chain((one) =>
  fc
    .array(fc.constantFrom("one", "list", "sticky"), {
      minLength: one.dnats.length,
      maxLength: one.dnats.length,
    })
    .map((forms) => ({ ...one, dnats: one.dnats.map((dnat, at) => inForm(dnat, forms[at] ?? "one")) })),
);

function inForm(dnat: ProgramDnat, form: "one" | "list" | "sticky"): ProgramDnat {
  if (form === "one") return dnat;
  return { ...dnat, isList: true, ...(form === "sticky" && { isSticky: true }) };
}
