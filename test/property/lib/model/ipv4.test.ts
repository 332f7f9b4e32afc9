import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { familyOf, parseCidr, parseIp } from "../../../../lib/model/families.ts";
import { type AddressValue, compareValues } from "../../../../lib/model/family.ts";
import { addressOf, prefixLengthOf } from "../../../../lib/model/ip.ts";
import { fromU32, ipv4, isUnicast, toU32 } from "../../../../lib/model/ipv4.ts";

/* The reference works on strings of 32 bits, so that no arithmetic is shared with what it judges. */
const number = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 0x7fffffff, 0x80000000, 0xffffffff));
const value = number.map((number) => toU32(fromU32(number)));
const length = fc.nat(32);
const bitsOf = (value: AddressValue) => Number(value).toString(2).padStart(32, "0");
const maskBits = (length: number) => "".padEnd(length, "1").padEnd(32, "0");

t.test("values are ordered, added and masked as the bits of addresses are", async () => {
  fc.assert(
    fc.property(value, value, (one, other) => {
      assert.equal(ipv4.toValue(ipv4.format(one)), one);
      assert.equal(Math.sign(compareValues(one, other)), bitsOf(one).localeCompare(bitsOf(other)));
      const both = Array.from(bitsOf(one), (bit, at) =>
        bit === "1" && bitsOf(other)[at] === "1" ? "1" : "0",
      );
      assert.equal(bitsOf(ipv4.and(one, other)), both.join(""));
      const [first, last] = one < other ? [one, other] : [other, one];
      assert.equal(ipv4.plus(first, ipv4.count(first, last) - 1), last);
      assert.equal(ipv4.plus(last, 1 - ipv4.count(first, last)), first);
      assert.equal(ipv4.modulo(one, 16), Number.parseInt(bitsOf(one).slice(28), 2));
    }),
    { numRuns: 1000 },
  );
});

t.test("masks: a prefix tells its length, a mask with buckets does not", async () => {
  fc.assert(
    fc.property(length, fc.nat(12), (length, log) => {
      const mask = ipv4.netmask(length);
      assert.equal(bitsOf(mask), maskBits(length));
      assert.equal(ipv4.lengthOfMask(mask), length);
      const bucketed = ipv4.bucketMask(length, 2 ** log);
      const low = maskBits(32 - log).replace(/[01]/g, (bit) => (bit === "1" ? "0" : "1"));
      const bits = Array.from(maskBits(length), (bit, at) => (bit === "1" || low[at] === "1" ? "1" : "0"));
      assert.equal(bitsOf(bucketed), bits.join(""));
      const isPrefix = /^1*0*$/.test(bits.join(""));
      assert.equal(ipv4.lengthOfMask(bucketed) !== undefined, isPrefix);
    }),
  );
});

t.test("keys are equal exactly if the addresses, or their networks, are", async () => {
  const near = fc
    .tuple(value, fc.nat(3))
    .map(([one, more]) => [one, toU32(fromU32((Number(one) ^ more) >>> 0))] as const);
  fc.assert(
    fc.property(fc.oneof(near, fc.tuple(value, value)), length, ([one, other], length) => {
      assert.equal(ipv4.keyOf(one) === ipv4.keyOf(other), one === other);
      const mask = ipv4.keyOf(ipv4.netmask(length));
      const isSameNetwork = bitsOf(one).slice(0, length) === bitsOf(other).slice(0, length);
      assert.equal(ipv4.maskedKey(one, mask) === ipv4.maskedKey(other, mask), isSameNetwork);
      assert.equal(ipv4.maskedKey(one, mask), ipv4.keyOf(ipv4.and(one, ipv4.netmask(length))));
    }),
    { numRuns: 1000 },
  );
});

t.test("bytes are read as they were written, wherever they are", async () => {
  fc.assert(
    fc.property(value, fc.nat(5), (value, at) => {
      const bytes = new Uint8Array(at + ipv4.addressBytes + 3).fill(0xaa);
      ipv4.write(bytes, at, value);
      assert.equal(ipv4.read(new DataView(bytes.buffer), at), value);
      assert.deepEqual([...bytes.subarray(at, at + 4)], ipv4.format(value).split(".").map(Number));
      assert.ok(bytes.every((byte, index) => (index >= at && index < at + 4) || byte === 0xaa));
      assert.throws(() => ipv4.read(new DataView(bytes.buffer), at + 4), RangeError);
    }),
  );
});

t.test("which addresses can be a host's, and which networks hold one", async () => {
  fc.assert(
    fc.property(value, length, (value, length) => {
      const address = ipv4.format(value);
      const isLoopback = ipv4.contains(ipv4.loopback, address);
      assert.equal(isUnicast(address), !isLoopback && !ipv4.isNeverUnicast(value));
      const network = ipv4.makeCidr(address, length);
      const [first, last] = ipv4.rangeOf(network);
      // 1.0.0.0 and 128.0.0.0 stand for the two ranges of hosts' addresses, 223.255.255.255 is the last.
      const some = [first, last, toU32(fromU32(0x01000000)), toU32(fromU32(0x80000000))];
      const holdsHosts = some.some((one) => first <= one && one <= last && isUnicast(ipv4.format(one)));
      assert.equal(ipv4.holdsHosts(network), holdsHosts);
    }),
    { numRuns: 1000 },
  );
});

t.test("endpoints are parsed back; only the whole address counts as mentioned", async (t) => {
  fc.assert(
    fc.property(value, fc.integer({ min: 1, max: 65535 }), (value, port) => {
      const address = ipv4.format(value);
      assert.deepEqual(ipv4.parseEndpoint(ipv4.endpoint(address, port)), { address, port: String(port) });
      assert.deepEqual(ipv4.parseEndpoint(address), { address, port: undefined });
    }),
  );
  for (const bad of ["", ":80", "1.2.3:80", "1.2.3.4.5", "::1"])
    t.equal(ipv4.parseEndpoint(bad), undefined, bad);
  t.same(
    ipv4.parseEndpoint("1.2.3.4:"),
    { address: "1.2.3.4", port: "" },
    "whether that is a port is not its business",
  );
  const mention = ipv4.mentionOf(fromU32(0xcb00710a));
  for (const text of [
    "203.0.113.10",
    "-d 203.0.113.10/32 -j",
    "203.0.113.10-203.0.113.12",
    "{ 203.0.113.10, 1.1.1.1 }",
  ])
    t.match(text, mention);
  for (const text of ["203.0.113.101", "1203.0.113.10", "203.0.113.1", "203a0b113c10", "203.0.113.10.1"])
    t.notMatch(text, mention);
});

t.test("the text of an address shows its family", async () => {
  fc.assert(
    fc.property(value, length, (value, length) => {
      const address = ipv4.format(value);
      const cidr = ipv4.makeCidr(address, length);
      assert.equal(familyOf(address), ipv4);
      assert.equal(familyOf(cidr), ipv4);
      assert.equal(parseIp(address), address);
      assert.equal(parseCidr(cidr), cidr);
      assert.equal(parseCidr(address), `${address}${ipv4.hostSuffix}`);
      assert.ok(ipv4.owns(address) && ipv4.owns(cidr) && !ipv4.owns("2001:db8::1/64"));
    }),
  );
  assert.equal(addressOf(ipv4.everything), ipv4.format(ipv4.zero));
  assert.equal(prefixLengthOf(ipv4.everything), 0);
  assert.equal(parseIp("2001:db8::1"), undefined);
});
