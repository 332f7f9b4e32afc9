/** What calls of `nat-gateway.sh` write, decided on what is stored. */
import t from "tap";
import { applyBatch } from "../../../../lib/admission/batch.ts";
import type { WriteContext } from "../../../../lib/admission/writes.ts";
import { runSync } from "../../../../lib/chunked.ts";
import type { Spec } from "../../../../lib/kinds/registry.ts";
import { decideChunked } from "../../../../lib/kube-ovn/decide.ts";
import { parseCall } from "../../../../lib/kube-ovn/operations.ts";
import type { Devices } from "../../../../lib/kube-ovn/request.ts";
import { kinds } from "../../../../lib/model/names.ts";
import { objectsOf } from "../../../../lib/state/desired.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State } from "../../../../lib/state/state.ts";

const devices = { vpcInterface: "eth0", externalInterface: "net1" } as Devices;
const context: WriteContext = {
  now: { bootId: "b", bootMs: 0, wallMs: 0 },
  facts: { ...devices, ownAddresses: new Set(), connectedSubnets: [] },
  isUnadopted: false,
  digest: (text) => text,
};

/** A store that calls write to. */
class Stored {
  state: State = emptyState;

  /** @returns what the call waits for, or the conflict */
  call(text: string) {
    const request = parseCall(text.split(" "), devices);
    if (request.type !== "objects") throw new Error("init has no objects");
    const decided = runSync(decideChunked(this.state.desired, request.requests));
    if ("conflict" in decided) return decided.conflict;
    const { batch, programmed, gone } = decided;
    this.state = reduce(this.state, applyBatch(this.state, { batch }, context).changes);
    return { programmed, gone };
  }

  /** The stored objects: `fips/203.0.113.10`, unbound Eips with a `?`. */
  get objects(): readonly string[] {
    return kinds.flatMap((kind) =>
      Array.from(objectsOf(this.state.desired, kind), ([name, { spec }]) => {
        const isUnbound = kind === "eip" && this.state.desired.eips.get(name)?.spec.bound === false;
        return `${kind}s/${spec.name}${isUnbound ? "?" : ""}`;
      }),
    );
  }
}

t.test("an EIP before its rules, and rules before their EIP", async (t) => {
  const fip = "floating-ip-add 203.0.113.10,10.0.1.5";
  const add = "eip-add 203.0.113.10/24";
  const first = new Stored();
  t.same(first.call(add), { programmed: ["eips/203.0.113.10"], gone: [] });
  t.same(first.call(fip), { programmed: ["fips/203.0.113.10"], gone: [] });
  t.same(first.objects, ["eips/203.0.113.10", "fips/203.0.113.10"]);

  const second = new Stored();
  t.same(second.call(fip), { programmed: ["fips/203.0.113.10"], gone: [] }, "does not wait for the Eip");
  t.same(second.objects, ["eips/203.0.113.10?", "fips/203.0.113.10"]);
  t.equal(second.state.desired.eips.values().next().value?.spec.address, "203.0.113.10/32");
  second.call(add);
  t.same(second.objects, ["eips/203.0.113.10", "fips/203.0.113.10"]);
  const specs = (stored: Stored) => [...stored.state.desired.eips.values()].map(({ spec }) => spec);
  t.strictSame(specs(second), specs(first));
});

t.test("an Eip is unbound while something uses it, then removed", async (t) => {
  const stored = new Stored();
  stored.call("eip-add 203.0.113.10/24");
  stored.call("dnat-add 203.0.113.10,80,tcp,10.0.1.5,80");
  stored.call("eip-egress-qos-add 203.0.113.10,1,2,1");
  t.same(stored.call("eip-del 203.0.113.10/24"), { programmed: [], gone: ["eips/203.0.113.10"] });
  t.same(stored.objects, ["eips/203.0.113.10?", "dnats/203.0.113.10-tcp-80", "limits/203.0.113.10-egress"]);
  t.same(stored.call("dnat-del 203.0.113.10,80,tcp"), {
    programmed: [],
    gone: ["dnats/203.0.113.10-tcp-80"],
  });
  t.same(stored.objects, ["eips/203.0.113.10?", "limits/203.0.113.10-egress"]);
  stored.call("eip-egress-qos-del 203.0.113.10");
  t.same(stored.objects, []);

  stored.call("eip-add 203.0.113.10/24");
  stored.call("eip-del 203.0.113.10/24");
  t.same(stored.objects, [], "nothing uses it");
  stored.call("eip-add 203.0.113.10/24");
  stored.call("floating-ip-add 203.0.113.10,10.0.1.5");
  stored.call("floating-ip-del 203.0.113.10");
  t.same(stored.objects, ["eips/203.0.113.10"], "a bound one stays");
});

t.test("several rules in one call", async (t) => {
  const stored = new Stored();
  stored.call("eip-add 203.0.113.10/24 203.0.113.11/24");
  stored.call("floating-ip-add 203.0.113.10,10.0.1.5 203.0.113.12,10.0.1.6 203.0.113.10,10.0.1.5");
  t.same(stored.objects, [
    "eips/203.0.113.10",
    "eips/203.0.113.11",
    "eips/203.0.113.12?",
    "fips/203.0.113.10",
    "fips/203.0.113.12",
  ]);
  const { revision } = stored.state.desired;
  t.match(stored.call("floating-ip-add 203.0.113.11,10.0.1.7 203.0.113.10,10.0.1.9"), /already maps/);
  t.equal(stored.state.desired.revision, revision, "all or nothing");
  t.match(
    stored.call("dnat-add 203.0.113.11,80,tcp,10.0.1.7,80 203.0.113.11,80,tcp,10.0.1.8,80"),
    /already leads to 10.0.1.7:80/,
    "within one call, too",
  );
  stored.call("floating-ip-del 203.0.113.12 203.0.113.10");
  t.same(stored.objects, ["eips/203.0.113.10", "eips/203.0.113.11"]);
});

t.test("again, absent and in conflict", async (t) => {
  const adds = [
    "eip-add 203.0.113.10/24",
    "floating-ip-add 203.0.113.10,10.0.1.5",
    "dnat-add 203.0.113.10,80,tcp,10.0.1.5,80",
    "nft-dnat-map-add 203.0.113.10,81,tcp,10.0.1.5:80@10.0.1.6:80",
    "snat-add 203.0.113.10,10.0.0.0/16",
    "subnet-route-add 10.2.0.0/16,10.0.1.1",
    "eip-ingress-qos-add 203.0.113.10,1,2,1",
    "qos-add egress,,1,matchall,,,,2,1",
  ];
  const stored = new Stored();
  for (const add of adds) stored.call(add);
  const { revision } = stored.state.desired;
  for (const add of adds) t.match(stored.call(add), { gone: [] }, add);
  for (const absent of [
    "eip-del 203.0.113.19/24",
    "floating-ip-del 203.0.113.19",
    "floating-ip-del 203.0.113.10,10.0.1.6",
    "dnat-del 203.0.113.10,80,udp",
    "dnat-del 203.0.113.10,80,tcp,10.0.1.6,80",
    "dnat-del 203.0.113.10,81,tcp",
    "nft-dnat-map-del 203.0.113.10,80,tcp",
    "snat-del 203.0.113.10,10.0.0.0/17",
    "subnet-route-del 10.2.0.0/17",
    "eip-egress-qos-del 203.0.113.10",
    "qos-del ingress,,1,matchall,,,,2,1",
  ])
    t.same(stored.call(absent), { programmed: [], gone: [] }, absent);
  for (const [conflict, message] of [
    ["floating-ip-add 203.0.113.10,10.0.1.6", "203.0.113.10 already maps to 10.0.1.5"],
    ["dnat-add 203.0.113.10,80,tcp,10.0.1.6,80", "tcp port 80 of 203.0.113.10 already leads to 10.0.1.5:80"],
    [
      "dnat-add 203.0.113.10,81,tcp,10.0.1.5,80",
      "tcp port 81 of 203.0.113.10 already leads to a list of backends",
    ],
  ] as const)
    t.equal(stored.call(conflict), message);
  t.equal(stored.state.desired.revision, revision, "nothing was written");
});

t.test("what replaces", async (t) => {
  const stored = new Stored();
  const specs = (): readonly Spec[] =>
    kinds.flatMap((kind) =>
      Array.from(objectsOf(stored.state.desired, kind).values(), ({ spec }): Spec => spec),
    );
  for (const [call, fields] of [
    ["snat-add 203.0.113.10,10.0.0.0/16", { mapping: "preserve" }],
    ["snat-add 203.0.113.10,10.0.0.0/16,--random-fully", { mapping: "random" }],
    ["subnet-route-add 10.2.0.0/16,10.0.1.1", { via: "10.0.1.1" }],
    ["subnet-route-add 10.2.0.0/16,10.0.1.2", { via: "10.0.1.2" }],
    ["dnat-add 203.0.113.10,80,tcp,10.0.1.5,80", { internalPort: 80 }],
    ["nft-dnat-map-add 203.0.113.10,80,tcp,10.0.1.5:80", { backends: [{ ip: "10.0.1.5", port: 80 }] }],
    ["nft-dnat-map-add 203.0.113.10,80,tcp,10.0.1.6:80", { backends: [{ ip: "10.0.1.6", port: 80 }] }],
    ["eip-ingress-qos-add 203.0.113.10,1,2,1", { rateMbit: 2 }],
    ["eip-ingress-qos-add 203.0.113.10,1,3,1", { rateMbit: 3 }],
    ["qos-add egress,,1,matchall,,,,2,1", { interface: "external", rateMbit: 2 }],
    ["qos-add egress,net1,1,matchall,,,,4,1", { interface: "external", rateMbit: 4 }],
    ["eip-add 203.0.113.10/24", { address: "203.0.113.10/24" }],
    ["eip-add 203.0.113.10/25", { address: "203.0.113.10/25" }],
  ] as const) {
    stored.call(call);
    t.ok(
      specs().some((spec) => JSON.stringify({ ...spec, ...fields }) === JSON.stringify(spec)),
      call,
    );
  }
  t.equal(stored.objects.length, 6, "two limits, one of each other kind");
});

t.test("a stored uid, lease and interface stay", async (t) => {
  const stored = new Stored();
  const spec: object = { name: "203.0.113.10", uid: "u", address: "203.0.113.10/24", interface: "net2" };
  const fip = { name: "203.0.113.10", uid: "f", eip: "203.0.113.10", internalIp: "10.0.1.5" };
  const batch = { upsert: { eips: [spec], fips: [fip] } } as never;
  stored.state = reduce(stored.state, applyBatch(stored.state, { batch }, context).changes);
  t.match(stored.call("floating-ip-add 203.0.113.10,10.0.1.5"), { programmed: ["fips/203.0.113.10"] });
  stored.call("eip-del 203.0.113.10/24");
  stored.call("eip-add 203.0.113.10/25");
  t.strictSame(
    Array.from(stored.state.desired.eips.values(), (one) => ({ ...one.spec })),
    [{ ...spec, address: "203.0.113.10/25" }],
  );
});
