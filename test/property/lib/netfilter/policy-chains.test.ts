/** Random policies do to random packets what the kernel's own comparison says. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { policyChains } from "../../../../lib/netfilter/policy-chains.ts";
import { type Packets, walk } from "../../../../lib/netfilter/walk.ts";
import {
  decodePolicy,
  type Masked,
  type Prefix,
  type XfrmPolicy,
} from "../../../../lib/netlink/xfrm-policies.ts";
import { alone } from "../../../support/netfilter.ts";
import { encodePolicy, noDefaultBlocks, policyOf } from "../../../support/policies.ts";

const names = new Map([
  [2, "eth0"],
  [3, "net1"],
]);
const protocols = new Map([
  [6, "tcp"],
  [17, "udp"],
]);

const plain = { noNullPrototype: true } as const;

/** Few different ones, so that many match. */
const address = fc.integer({ min: 0, max: 7 }).map((low) => ((203 << 24) | low) >>> 0);
const prefix = fc.record(
  { address, length: fc.constantFrom(0, 8, 29, 30, 31, 32) },
  plain,
) as fc.Arbitrary<Prefix>;
const port = fc.integer({ min: 0, max: 3 });
const masked: fc.Arbitrary<Masked> = fc.record(
  { value: port, mask: fc.constantFrom(0, 0, 0xffff, 0xfffe, 0xfffc, 0xfffd) },
  plain,
);
const policies: fc.Arbitrary<readonly XfrmPolicy[]> = fc.array(
  fc
    .record({
      source: prefix,
      destination: prefix,
      protocol: fc.constantFrom(0, 0, 6, 17),
      sourcePort: masked,
      destinationPort: masked,
      interfaceIndex: fc.constantFrom(0, 0, 2, 3),
      priority: fc.integer({ min: 0, max: 2 }),
      action: fc.constantFrom("allow" as const, "block" as const),
    })
    .map((parts) => ({ ...policyOf("fwd 0.0.0.0/0 > 0.0.0.0/0"), ...parts })),
  { maxLength: 6 },
);
const packet = fc.record({
  source: address,
  destination: address,
  protocol: fc.constantFrom(6, 17),
  sourcePort: port,
  destinationPort: port,
  interfaceIndex: fc.constantFrom(2, 3),
});
type Packet = typeof packet extends fc.Arbitrary<infer P> ? P : never;

/** As xfrm_selector_match() of the kernel has it. */
function isMatch(policy: XfrmPolicy, packet: Packet): boolean {
  const isIn = (value: number, { address, length }: Prefix) =>
    length === 0 || (value ^ Number(address)) >>> (32 - length) === 0;
  const isPort = (value: number, { value: wanted, mask }: Masked) => ((value ^ wanted) & mask) === 0;
  return (
    isIn(packet.source, policy.source) &&
    isIn(packet.destination, policy.destination) &&
    isPort(packet.sourcePort, policy.sourcePort) &&
    isPort(packet.destinationPort, policy.destinationPort) &&
    (policy.protocol === 0 || policy.protocol === packet.protocol) &&
    (policy.interfaceIndex === 0 || policy.interfaceIndex === packet.interfaceIndex)
  );
}

t.test("the first policy that matches decides", async () => {
  fc.assert(
    fc.property(policies, packet, (added, packet) => {
      const sent = added.map((policy) => {
        const bytes = encodePolicy(policy);
        return decodePolicy(new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length, ipv4);
      });
      assert.deepEqual(sent, added);
      const first = added
        .toSorted((one, other) => one.priority - other.priority)
        .find((policy) => isMatch(policy, packet));
      const packets: Packets = {
        in: "net1",
        out: names.get(packet.interfaceIndex),
        source: [packet.source, packet.source],
        destination: [packet.destination, packet.destination],
        protocol: protocols.get(packet.protocol),
        sourcePort: [packet.sourcePort, packet.sourcePort],
        destinationPort: [packet.destinationPort, packet.destinationPort],
        state: "new",
      };
      const chains = policyChains({ policies: added.toReversed(), defaultBlocks: noDefaultBlocks }, (index) =>
        names.get(index),
      );
      const harms = chains.flatMap((chain) => walk(chain, packets, alone));
      // Ports with gaps are not compared.
      const isUnsure = added.some(({ sourcePort, destinationPort }) =>
        [sourcePort, destinationPort].some(({ mask }) => mask === 0xfffd),
      );
      const isSure = harms.some((harm) => harm.isSure);
      if (isSure || !isUnsure) assert.equal(isSure, first?.action === "block");
      else if (first?.action === "block") assert.ok(harms.length > 0, "it is named all the same");
    }),
  );
});
