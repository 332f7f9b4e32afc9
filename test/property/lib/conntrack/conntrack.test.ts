/**
 * Compares the compiled predicate with a slow, simple version of the rules. Also checks what it must never do: end a
 * flow that the rules would create again, or one whose object did not change.
 */
import fc from "fast-check";
import t from "tap";
import { endsRuledBy, type FlowEnd, hasEndOf } from "../../../../lib/conntrack/ends.ts";
import { type Flow, flowStatus, viewOf } from "../../../../lib/conntrack/flow.ts";
import { compileContradicts } from "../../../../lib/conntrack/permits.ts";
import { renderFlow } from "../../../../lib/conntrack/text.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { contains, fromU32, ipv4, toU32 } from "../../../../lib/model/ipv4.ts";
import { bucketsOf, type Program, type SnatPool } from "../../../../lib/model/program.ts";
import { attributeEnd, attributeType, nextAttribute, payloadOf } from "../../../../lib/netlink/attributes.ts";
import { encodeDelete, encodeDumpOf } from "../../../../lib/netlink/ctnetlink.ts";
import { flow, ip, network, program, type SampleProgram } from "../../../support/conntrack-samples.ts";

const eips = ["203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13"];
const pods = ["10.0.1.5", "10.0.1.6", "10.0.2.5", "10.0.1.254"];
const outside = ["198.51.100.7", "203.0.113.254", "203.0.113.1", "192.0.2.1", "203.0.113.255", "224.0.0.1"];
const hosts = [...eips, ...pods, ...outside];
const ports = [80, 81, 4000];
const local = new Set<string>(["10.0.1.254", "203.0.113.254", "127.0.0.1"]);

const pick = (list: readonly string[]) => fc.constantFrom(...list);
const port = fc.constantFrom(...ports);

const anySample: fc.Arbitrary<SampleProgram> = fc.record({
  eips: fc.subarray(eips),
  fips: fc.uniqueArray(fc.tuple(pick(eips.slice(0, 2)), pick(pods.slice(0, 3))), {
    selector: ([eip]) => eip,
  }),
  dnats: fc.uniqueArray(
    fc
      .tuple(
        fc.tuple(pick(eips.slice(2)), port, fc.constantFrom("tcp", "udp")),
        fc.uniqueArray(fc.tuple(pick(pods), port), { minLength: 1, maxLength: 3, selector: String }),
      )
      .map(([service, backends]): [string, ...string[]] => [
        `${service[0]}:${service[1]}/${service[2]}`,
        ...backends.map(([host, number]) => `${host}:${number}`),
      ]),
    { selector: ([service]) => service },
  ),
  snats: fc.uniqueArray(
    fc.tuple(pick(eips), pick(["10.0.1.5/32", "10.0.1.0/24", "10.0.0.0/16", "0.0.0.0/0", "10.0.2.0/24"])),
    { selector: String, maxLength: 5 },
  ),
});

const anyFlow: fc.Arbitrary<Flow> = fc
  .record({
    protocol: fc.constantFrom("tcp", "udp", "icmp"),
    os: pick(hosts),
    od: pick(hosts),
    rs: fc.option(pick(hosts), { freq: 2 }),
    rd: fc.option(pick(hosts), { freq: 2 }),
    odp: port,
    rsp: fc.option(port, { freq: 2 }),
    rdp: port,
    // Any status bits except the two that exempt a flow.
    status: fc.integer({ min: 0, max: 0xffff }).map((bits) => bits & ~0x201),
  })
  .map(({ protocol, os, od, rs, rd, odp, rsp, rdp, status }) =>
    protocol === "icmp"
      ? flow(`icmp ${os} ${od} | ${rs ?? od} ${rd ?? os}`, { status })
      : flow(`${protocol} ${os}:4000 ${od}:${odp} | ${rs ?? od}:${rsp ?? odp} ${rd ?? os}:${rdp}`, {
          status,
        }),
  );

const isEip = (current: Program, address: Ip) => current.eips.some((eip) => eip.address === address);
const isUnicast = (current: Program, address: Ip) =>
  !local.has(address) && !isEip(current, address) && !["203.0.113.255", "224.0.0.1"].includes(address);
const isInside = (address: Ip) => address.startsWith("10.");
const protocolName = (protocol: number) => ({ 6: "tcp", 17: "udp" })[protocol] ?? "icmp";

/** Longest prefix first, as in the program. */
const covering = (current: Program, client: Ip) => current.pools.filter(({ cidr }) => contains(cidr, client));

function backendsFor(current: Program, { protocol, original }: Flow) {
  const found = current.dnats.find(
    (dnat) =>
      dnat.eip === original.destination &&
      dnat.externalPort === original.destinationPort &&
      dnat.protocol === protocolName(protocol),
  );
  return found?.backends;
}

/** Which flows must be ended, rule by rule, with lists and text. */
function mustGo(current: Program, retired: ReadonlySet<Ip>, entry: Flow): boolean {
  const { source: os, destination: od, destinationPort: odp } = entry.original;
  const { source: rs, destination: rd, sourcePort: rsp } = entry.reply;
  const isOurs = (address: Ip) => isEip(current, address) || retired.has(address);
  const isOwn = local.has(os) || isEip(current, os);
  const fip = current.fips.find(({ eip }) => eip === od);

  const keepsIt = rs === od && rsp === odp;
  const destinations = fip ? [{ ip: fip.internalIp, port: odp }] : backendsFor(current, entry);
  const isRuled = !isOwn && destinations !== undefined;
  const isGood = isRuled ? destinations.some((each) => each.ip === rs && each.port === rsp) : keepsIt;
  if (!isGood && !isOwn && (isRuled || isOurs(od))) return true;

  const leavesBy = !isUnicast(current, rs) ? "nowhere" : isInside(rs) ? "eth0" : "net1";
  const comesFrom = !isUnicast(current, os) ? "nowhere" : isInside(os) ? "eth0" : "net1";
  const isHairpin = leavesBy === "eth0" && comesFrom === "eth0" && rs !== od && isEip(current, od);
  const sources =
    leavesBy === "nowhere"
      ? []
      : [
          ...current.fips.filter(({ internalIp }) => internalIp === os).map(({ eip }) => eip),
          ...(leavesBy === "net1"
            ? covering(current, os).flatMap(({ members }) => members.map(({ eip }) => eip))
            : []),
          ...(isHairpin ? [od] : []),
        ];
  if (sources.includes(rd)) return false;
  return rd === os ? isGood && sources.length > 0 : isOurs(rd);
}

t.test("judges as the rules say", async (t) => {
  let gone = 0;
  fc.assert(
    fc.property(
      anySample,
      fc.subarray(eips),
      fc.array(anyFlow, { maxLength: 30 }),
      (sample, old, entries) => {
        const current = program(sample);
        const retired = new Set(old.map(ip));
        const contradicts = compileContradicts({ program: current, retired, network });
        for (const entry of entries) {
          const expected = mustGo(current, retired, entry);
          if (expected) gone++;
          if (contradicts(viewOf(entry, ipv4)) !== expected) {
            throw new Error(`${renderFlow(entry)} should ${expected ? "go" : "stay"}`);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
  t.ok(gone > 100, `${gone} flows had to go`);
});

t.test("ignores flows that it must not judge", async (t) => {
  const exempt = fc.constantFrom<Partial<Flow>>(
    { status: flowStatus.expected },
    { status: flowStatus.dying | 0xe },
    { zone: 1 },
    { zone: 65535 },
  );
  fc.assert(
    fc.property(anySample, anyFlow, exempt, (sample, entry, more) => {
      const contradicts = compileContradicts({
        program: program(sample),
        retired: new Set(eips.map(ip)),
        network,
      });
      return !contradicts(viewOf({ ...entry, ...more }, ipv4));
    }),
  );
  t.pass();
});

/** The translation of a new packet by the rules. `chance` is the value of random choices. */
function translate(current: Program, packet: Flow, chance: number): Flow {
  const { source: os, destination: od, destinationPort: odp } = packet.original;
  const isOwn = local.has(os) || isEip(current, os);
  const fip = current.fips.find(({ eip }) => eip === od);
  const backends = backendsFor(current, packet);
  const backend = fip ? { ip: fip.internalIp, port: odp } : backends?.[chance % backends.length];
  const to = isOwn || backend === undefined ? { ip: od, port: odp } : backend;
  return {
    ...packet,
    reply: {
      source: to.ip,
      sourcePort: to.port,
      destination: newSource(current, os, od, to.ip),
      destinationPort: chance,
    },
  };
}

function newSource(current: Program, os: Ip, od: Ip, rs: Ip): Ip {
  if (!isUnicast(current, rs)) return os;
  const fip = current.fips.find((each) => each.internalIp === os && each.isOutward);
  if (fip !== undefined) return fip.eip;
  const [pool] = isInside(rs) ? [] : covering(current, os);
  if (pool !== undefined) return memberFor(pool, os);
  const isFromVpc = isUnicast(current, os) && isInside(os);
  return isInside(rs) && isFromVpc && rs !== od && isEip(current, od) ? od : os;
}

function memberFor(pool: SnatPool, client: Ip): Ip {
  const buckets = bucketsOf(pool, ipv4);
  const member = buckets[toU32(client) % buckets.length];
  if (member === undefined) throw new TypeError(`no bucket for ${client} in ${pool.cidr}`);
  return member.eip;
}

/** The packet is not translated yet. */
const anyPacket = anyFlow.map(
  (entry): Flow => ({
    ...entry,
    reply: {
      source: entry.original.destination,
      sourcePort: entry.original.destinationPort,
      destination: entry.original.source,
      destinationPort: entry.original.sourcePort,
    },
  }),
);

t.test("never ends flows that the rules create: a second sweep finds nothing", async (t) => {
  fc.assert(
    fc.property(anySample, fc.subarray(eips), anyPacket, fc.nat(99), (sample, old, packet, chance) => {
      const current = program(sample);
      const made = translate(current, packet, chance);
      const retired = new Set(old.map(ip));
      return !compileContradicts({ program: current, retired, network })(viewOf(made, ipv4));
    }),
    { numRuns: 3_000 },
  );
  t.pass();
});

t.test("never ends a client's flows while the object that created them exists", async (t) => {
  let checked = 0;
  fc.assert(
    fc.property(anySample, anySample, pick(pods), fc.nat(99), (before, after, client, chance) => {
      const packet = flow(`udp ${client}:4000 198.51.100.7:80`);
      const made = translate(program(before), packet, chance);
      const seenAs = made.reply.destination;
      if (seenAs === client) return;
      // Whatever was added and removed: the flow's FIP, or the SNAT with its longest prefix, still exists.
      const fip = (before.fips ?? []).find(([eip, internalIp]) => eip === seenAs && internalIp === client);
      const [pool] = covering(program(before), ip(client));
      const kept: SampleProgram = fip
        ? { ...after, fips: [fip, ...(after.fips ?? []).filter(([eip]) => eip !== seenAs)] }
        : { ...after, snats: [[seenAs, pool?.cidr ?? ""], ...(after.snats ?? [])] };
      checked++;
      const contradicts = compileContradicts({
        program: program(kept),
        retired: new Set(eips.map(ip)),
        network,
      });
      if (contradicts(viewOf(made, ipv4))) throw new Error(renderFlow(made));
    }),
    { numRuns: 1_000 },
  );
  t.ok(checked > 100, `${checked} flows were translated`);
});

/** What differs between two programs. */
function difference(one: Program, other: Program): Pick<Program, "fips" | "dnats"> {
  const known = new Set([...other.fips, ...other.dnats].map((object) => JSON.stringify(object)));
  const isNew = (object: object) => !known.has(JSON.stringify(object));
  return { fips: one.fips.filter(isNew), dnats: one.dnats.filter(isNew) };
}

t.test("FIPs and DNATs have a say in the flows with their ends, and in no other", async (t) => {
  let moved = 0;
  fc.assert(
    fc.property(
      anySample,
      anySample,
      fc.subarray(eips),
      fc.array(anyFlow, { maxLength: 30 }),
      (sample, { fips = [], dnats = [] }, old, entries) => {
        const [before, after] = [program({ ...sample, eips }), program({ ...sample, eips, fips, dnats })];
        const retired = new Set(old.map(ip));
        const contradicted = compileContradicts({ program: before, retired, network });
        const contradicts = compileContradicts({ program: after, retired, network });
        const isReached = hasEndOf(endsRuledBy([difference(before, after), difference(after, before)]), ipv4);
        for (const entry of entries) {
          const view = viewOf(entry, ipv4);
          if (contradicted(view) === contradicts(view)) continue;
          moved++;
          if (!isReached(view)) throw new Error(renderFlow(entry));
        }
      },
    ),
    { numRuns: 2_500 },
  );
  t.ok(moved > 100, `${moved} flows were judged otherwise`);
});

const GET = 0x101;
const DELETE = 0x102;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_FILTER = 25;

/** Types and payloads of the attributes in `bytes` from `from` on. */
function attributesOf(
  bytes: Uint8Array,
  from = 0,
): readonly (readonly [type: number, payload: Uint8Array])[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: [number, Uint8Array][] = [];
  for (let at = from; at < bytes.length; at = nextAttribute(view, at, bytes.length)) {
    found.push([
      attributeType(view, at),
      bytes.subarray(payloadOf(at), attributeEnd(view, at, bytes.length)),
    ]);
  }
  return found;
}

const anyAddress = fc.nat(0xffffffff).map((value) => fromU32(value));
const anyEnd: fc.Arbitrary<FlowEnd> = fc.record({
  tuple: fc.constantFrom("original", "reply"),
  side: fc.constantFrom("source", "destination"),
  address: anyAddress,
});

t.test("a filter asks for one address in one place, and only ever of a dump", async (t) => {
  fc.assert(
    fc.property(anyEnd, (end) => {
      const { type, payload } = encodeDumpOf(end, ipv4);
      const [tuple, filter, ...rest] = attributesOf(payload, 4);
      const tupleType = end.tuple === "original" ? CTA_TUPLE_ORIG : CTA_TUPLE_REPLY;
      const bit = end.side === "source" ? 1 : 2;
      const part = attributesOf(tuple?.[1] ?? new Uint8Array());
      const addresses = attributesOf(part[0]?.[1] ?? new Uint8Array());
      const flags = attributesOf(filter?.[1] ?? new Uint8Array());
      return (
        type === GET &&
        payload[0] === 2 &&
        rest.length === 0 &&
        tuple?.[0] === tupleType &&
        filter?.[0] === CTA_FILTER &&
        part.length === 1 &&
        addresses.length === 1 &&
        addresses[0]?.[0] === bit &&
        addresses[0][1].join(".") === end.address &&
        flags.length === 1 &&
        flags[0]?.[0] === tupleType &&
        flags[0][1].join() === `${bit},0,0,0`
      );
    }),
  );
  t.pass();
});

t.test("a delete names one flow by its original tuple, and never filters", async (t) => {
  fc.assert(
    fc.property(anyFlow, fc.nat(0xffff), fc.nat(0xffffffff), (entry, zone, id) => {
      const { type, payload } = encodeDelete({ ...entry, zone, id }, ipv4);
      const [tuple, ...rest] = attributesOf(payload, 4);
      const addresses = attributesOf(
        attributesOf(tuple?.[1] ?? new Uint8Array())[0]?.[1] ?? new Uint8Array(),
      );
      return (
        type === DELETE &&
        tuple?.[0] === CTA_TUPLE_ORIG &&
        addresses.map(([, bytes]) => bytes.join(".")).join() ===
          `${entry.original.source},${entry.original.destination}` &&
        rest.map(([each]) => each).join() === (zone === 0 ? "12" : "18,12")
      );
    }),
  );
  t.pass();
});
