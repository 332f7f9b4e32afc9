/**
 * Random changes of the gateway's state, valid for the journal. Whether they make sense together does not matter to it.
 */
import fc from "fast-check";
import { stateCodec } from "../../agent/store/state-codec.ts";
import { kinds } from "../../lib/model/names.ts";
import type { StateChange } from "../../lib/state/state.ts";

const codec = stateCodec();
const oneOf = <T>(...values: readonly T[]) => fc.constantFrom(...values);

const name = fc.integer({ min: 0, max: 7 }).map((number) => `object-${number}.example`);
const ip = fc.tuple(oneOf(10, 203), fc.nat(255), fc.nat(255), fc.nat(255)).map((octets) => octets.join("."));
const cidr = fc.tuple(ip, fc.integer({ min: 0, max: 32 })).map(([address, length]) => `${address}/${length}`);
const port = fc.integer({ min: 1, max: 65535 });
const uid = fc.stringMatching(/^[!-~]{1,12}$/);
const text = fc.string({ unit: "binary", maxLength: 12 });
const count = fc.nat(1_000_000);
const common = { name, uid };

const specs = {
  eip: fc.record(
    {
      ...common,
      address: cidr,
      interface: oneOf("net1", "net1.100"),
      leaseSeconds: fc.integer({ min: 1, max: 3600 }),
      bound: fc.boolean(),
    },
    { requiredKeys: ["name", "address"] },
  ),
  fip: fc.record({ ...common, eip: name, internalIp: ip }, { requiredKeys: ["name", "eip", "internalIp"] }),
  snat: fc.record(
    { ...common, eip: name, internalCIDR: cidr, mapping: oneOf("random", "preserve") },
    { requiredKeys: ["name", "eip", "internalCIDR"] },
  ),
  dnat: fc.record(
    {
      ...common,
      eip: name,
      protocol: oneOf("tcp", "udp", "sctp"),
      externalPort: port,
      internalIp: ip,
      internalPort: port,
      backends: fc.array(fc.record({ ip, port }), { maxLength: 3 }),
      sessionAffinity: oneOf("None", "ClientIP"),
    },
    { requiredKeys: ["name", "eip", "protocol", "externalPort"] },
  ),
  limit: fc.record(
    {
      ...common,
      direction: oneOf("ingress", "egress"),
      rateMbit: fc.double({ min: 0.001, max: 1e6, noNaN: true }),
      burstMB: fc.double({ min: 0.001, max: 4_095, noNaN: true }),
      priority: fc.integer({ min: 0, max: 65_535 }),
      eip: name,
      interface: oneOf("vpc", "net1"),
      match: fc.record({ src: cidr, dst: cidr }, { requiredKeys: [] }),
    },
    { requiredKeys: ["name", "direction", "rateMbit"] },
  ),
  route: fc.record(
    { ...common, destination: cidr, via: ip, interface: oneOf("vpc", "external") },
    { requiredKeys: ["name", "destination", "via"] },
  ),
};
const kind = oneOf(...kinds);
const instant = fc.record({
  bootId: text,
  bootMs: fc.double({ min: 0, max: 1e12, noNaN: true }),
  wallMs: count,
});
const type = <T extends string>(value: T) => fc.constant(value);
const entries = fc.array(
  fc.tuple(oneOf("eth0", "net1"), cidr).map((parts) => parts.join(" ")),
  {
    minLength: 1,
    maxLength: 5,
  },
);
const addresses = fc.array(ip, { minLength: 1, maxLength: 3 });

/** A change as the journal stores it. */
export const recordedChange: fc.Arbitrary<object> = fc.oneof(
  ...Object.entries(specs).map(([of, spec]) =>
    fc.record({
      type: type("put"),
      kind: fc.constant(of),
      object: fc.record({ spec: spec as fc.Arbitrary<object>, revision: count, creation: count }),
    }),
  ),
  fc.record({ type: type("delete"), kind, name }),
  fc.record({ type: type("revision"), revision: count }),
  fc.record({ type: type("gateway"), gateway: fc.record({ defaultGateway: ip }, { requiredKeys: [] }) }),
  fc.record({ type: type("full-set"), generation: count, digest: text }),
  fc.record({
    type: type("tombstone"),
    key: fc.tuple(kind, uid).map((parts) => parts.join("/")),
    untilMs: count,
  }),
  fc.record({
    type: oneOf("forget-tombstone", "evict-tombstone"),
    key: fc.tuple(kind, uid).map((parts) => parts.join("/")),
  }),
  fc.record({ type: type("lease"), name, renewed: instant }),
  fc.record({ type: type("ledger-epoch"), epoch: text }),
  fc.record({ type: oneOf("ledger-add", "ledger-remove"), entries }),
  fc.record({ type: oneOf("retire", "unretire"), addresses }),
);

/** The changes of one transaction, at least one. The codec's own parser adds the brands. */
export const transactionChanges: fc.Arbitrary<readonly StateChange[]> = fc
  .array(recordedChange, { minLength: 1, maxLength: 6 })
  .map((list) => codec.decodeChanges(JSON.parse(JSON.stringify(list))));
