import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { addressOf, makeInterfaceAddress, prefixLengthOf } from "../../../../lib/model/ip.ts";
import {
  contains,
  fromU32,
  ipv4,
  isLoopback,
  isUnicast,
  makeCidr,
  netmaskU32,
  networkOf,
  parseCidr,
  parseInterfaceAddress,
  parseIp,
  rangeOf,
  reservedOf,
  reservedRoleOf,
  toU32,
} from "../../../../lib/model/ipv4.ts";
import type { InterfaceName, ObjectId } from "../../../../lib/model/names.ts";
import { bucketsOf, type PoolMember, type SnatPool } from "../../../../lib/model/program.ts";

/* The reference works on strings of 32 bits, so that no arithmetic is shared with what it judges. */
const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255));
const length = fc.nat(32);
const bitsOf = (octets: readonly number[]) =>
  octets.map((octet) => octet.toString(2).padStart(8, "0")).join("");
const textOf = (bits: string) =>
  [0, 8, 16, 24].map((start) => Number.parseInt(bits.slice(start, start + 8), 2)).join(".");
const ipOf = (octets: readonly number[]) => {
  const ip = parseIp(octets.join("."));
  if (ip === undefined) throw new Error(`not parsed: ${octets.join(".")}`);
  return ip;
};

t.test("addresses and integers convert both ways", (t) => {
  fc.assert(
    fc.property(octets, (octets) => {
      const ip = ipOf(octets);
      assert.equal(toU32(ip), Number.parseInt(bitsOf(octets), 2));
      assert.equal(fromU32(toU32(ip)), ip);
      assert.equal(isLoopback(ip), octets[0] === 127);
      assert.equal(isUnicast(ip), ![0, 127].includes(octets[0]) && !bitsOf(octets).startsWith("111"));
    }),
  );
  t.pass();
  t.end();
});

t.test("networks agree with bit arithmetic", (t) => {
  fc.assert(
    fc.property(octets, length, octets, (octets, length, others) => {
      const ip = ipOf(octets);
      const prefix = bitsOf(octets).slice(0, length);
      const first = prefix.padEnd(32, "0");
      const last = prefix.padEnd(32, "1");
      const text = `${octets.join(".")}/${length}`;
      const cidr = makeCidr(ip, length);
      assert.equal(cidr, `${textOf(first)}/${length}`);
      assert.equal(parseCidr(text), cidr);
      assert.equal(parseCidr(cidr), cidr, "masking twice is masking once");
      assert.equal(addressOf(cidr), textOf(first));
      assert.equal(prefixLengthOf(cidr), length);
      assert.deepEqual(rangeOf(cidr), [Number.parseInt(first, 2), Number.parseInt(last, 2)]);
      assert.equal(netmaskU32(length), Number.parseInt("".padEnd(length, "1").padEnd(32, "0"), 2));

      const address = makeInterfaceAddress(ip, length);
      assert.equal(parseInterfaceAddress(text), address, "host bits are kept");
      assert.equal(addressOf(address), ip);
      assert.equal(networkOf(address), cidr);

      for (const other of [others, octets.with(3, others[3])])
        assert.equal(contains(cidr, ipOf(other)), bitsOf(other).startsWith(prefix));
      for (const edge of [first, last]) assert.ok(contains(cidr, ipOf(textOf(edge).split(".").map(Number))));

      const reserved = length < 31 ? { network: textOf(first), broadcast: textOf(last) } : undefined;
      assert.deepEqual(reservedOf(cidr), reserved);
      for (const [bits, role] of [
        [first, "network"],
        [last, "broadcast"],
      ] as const)
        assert.equal(
          reservedRoleOf(makeInterfaceAddress(ipOf(textOf(bits).split(".").map(Number)), length)),
          length < 31 ? role : undefined,
        );
      const isEdge = bitsOf(octets) === first || bitsOf(octets) === last;
      assert.equal(reservedRoleOf(address) !== undefined, isEdge && length < 31);
    }),
    { numRuns: 1000 },
  );
  t.pass();
  t.end();
});

t.test("a parser accepts exactly the canonical text", (t) => {
  const almost = fc
    .tuple(
      fc.array(fc.oneof(fc.nat(300).map(String), fc.constantFrom("", "01", "-1", "1e1", " 1", "٣")), {
        maxLength: 5,
      }),
      fc.nat(40),
    )
    .map(([parts, length]) => [parts.join("."), `${parts.join(".")}/${length}`] as const);
  fc.assert(
    fc.property(almost, ([text, network]) => {
      const parts = text.split(".");
      const isQuad =
        parts.length === 4 &&
        parts.every((part) => String(Number(part)) === part && /^\d+$/.test(part) && Number(part) < 256);
      assert.equal(parseIp(text) !== undefined, isQuad);
      const isCidr = isQuad && Number(network.split("/")[1]) <= 32;
      assert.equal(parseInterfaceAddress(network) !== undefined, isCidr);
      assert.equal(parseCidr(network) !== undefined, isCidr);
    }),
    { numRuns: 1000 },
  );
  t.pass();
  t.end();
});

t.test("buckets: a power of two, shares that differ by one at most, every member served that can be", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 8, max: 32 }), (count, length) => {
      const member = (index: number): PoolMember => ({
        id: `snats/s${index}` as ObjectId,
        eip: fromU32(index),
        mapping: "random",
      });
      const pool: SnatPool = {
        cidr: makeCidr(fromU32(0x0a000000), length),
        interface: "net1" as InterfaceName,
        members: [member(0), ...Array.from({ length: count - 1 }, (_, index) => member(index + 1))],
      };
      const buckets = bucketsOf(pool, ipv4);
      assert.equal(Math.log2(buckets.length) % 1, 0);
      assert.ok(buckets.length <= 2 ** (32 - length));
      buckets.forEach((bucket, index) => {
        assert.equal(bucket, pool.members[index % count]);
      });
      const shares = [...Map.groupBy(buckets, (bucket) => bucket.id).values()].map((share) => share.length);
      assert.ok(Math.max(...shares) - Math.min(...shares) <= 1);
      assert.equal(shares.length, Math.min(count, 2 ** (32 - length)));
    }),
  );
  t.pass();
  t.end();
});
