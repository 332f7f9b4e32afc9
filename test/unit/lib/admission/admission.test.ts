import t from "tap";
import { canonicalFullSet, contentText } from "../../../../lib/admission/canonical.ts";
import { gatewayIssues } from "../../../../lib/admission/gateway.ts";
import { expiredLeases, nextExpiryMs } from "../../../../lib/admission/leases.ts";
import { maxTombstones, remember, tombstoneMs } from "../../../../lib/admission/uids.ts";
import type { Decision } from "../../../../lib/admission/writes.ts";
import { runSync } from "../../../../lib/chunked.ts";
import type { ConnectedSubnet } from "../../../../lib/kinds/facts.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import type { Kind, ObjectName } from "../../../../lib/model/names.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { fullSet, type PlainSet, refusal, World } from "../../../support/admission.ts";

const eipA = { name: "eip-a", address: "203.0.113.10/24" };
const eipB = { name: "eip-b", address: "203.0.113.11/24" };
const fipA = { name: "fip-a", eip: "eip-a", internalIp: "10.0.1.5" };
const fipB = { name: "fip-b", eip: "eip-b", internalIp: "10.0.1.6" };
const dnatB = {
  name: "dnat-b",
  eip: "eip-b",
  protocol: "tcp",
  externalPort: 80,
  internalIp: "10.0.1.7",
  internalPort: 8080,
};

function withEips(): World {
  const world = new World();
  world.put("eip", eipA);
  world.put("eip", eipB);
  return world;
}

t.test("single writes", (t) => {
  t.test("raise the revision by one, never the generation, and set the store", (t) => {
    const world = new World();
    t.equal(world.state.isSet, false);
    const decision = world.put("eip", eipA);
    t.strictSame(decision.touched, ["eips/eip-a"]);
    t.strictSame(decision.removed, []);
    t.equal(world.state.isSet, true);
    t.match(world.state.desired, { revision: 1, generation: 0 });
    t.match(world.stored("eip", "eip-a"), { spec: eipA, revision: 1, creation: 1 });
    world.put("fip", fipA);
    world.put("fip", { ...fipA, internalIp: "10.0.1.9" });
    t.match(world.state.desired, { revision: 3, generation: 0 });
    t.match(
      world.stored("fip", "fip-a"),
      { revision: 3, creation: 2 },
      "replacing keeps the creation number",
    );
    t.end();
  });

  t.test("store the canonical form, and an identical PUT changes nothing", (t) => {
    const world = withEips();
    world.put("snat", { mapping: "preserve", internalCIDR: "10.0.1.9/24", eip: "eip-a", name: "s" });
    t.equal(
      JSON.stringify(world.stored("snat", "s")?.spec),
      '{"name":"s","eip":"eip-a","internalCIDR":"10.0.1.0/24","mapping":"preserve"}',
    );
    const { revision } = world.state.desired;
    const again = world.put("snat", {
      name: "s",
      eip: "eip-a",
      internalCIDR: "10.0.1.77/24",
      mapping: "preserve",
    });
    t.strictSame(again, { changes: [], touched: ["snats/s"], removed: [], isReplay: false });
    t.equal(world.state.desired.revision, revision);
    t.end();
  });

  t.test("a reference to an Eip that is not there yet is accepted", (t) => {
    const world = new World();
    world.put("fip", fipA);
    t.strictSame(world.names("fip"), ["fip-a"]);
    t.equal(
      refusal(() => world.put("fip", { ...fipA, name: "fip-c" })).code,
      "conflict",
      "and takes its Eip",
    );
    t.end();
  });

  t.test("an identity that is taken is a conflict that names the other", (t) => {
    const world = withEips();
    world.put("fip", fipA);
    world.put("dnat", dnatB);
    world.put("snat", { name: "s1", eip: "eip-a", internalCIDR: "10.0.1.0/24" });
    world.put("route", { name: "r1", destination: "10.0.0.0/16", via: "10.0.1.1" });
    const cases: [Kind, { name: string; [field: string]: unknown }, string][] = [
      ["eip", { name: "eip-c", address: "203.0.113.10/32" }, "eips/eip-a"],
      ["eip", { name: "eip-b", address: "203.0.113.10/24" }, "eips/eip-a"],
      ["fip", { name: "fip-c", eip: "eip-a", internalIp: "10.0.1.8" }, "fips/fip-a"],
      ["fip", { name: "fip-b", eip: "eip-a", internalIp: "10.0.1.6" }, "fips/fip-a"],
      ["dnat", { ...dnatB, name: "d2" }, "dnats/dnat-b"],
      ["dnat", { ...dnatB, name: "d2", internalIp: "10.0.1.9" }, "dnats/dnat-b"],
      ["snat", { name: "s2", eip: "eip-a", internalCIDR: "10.0.1.128/24" }, "snats/s1"],
      ["route", { name: "r2", destination: "10.0.9.9/16", via: "10.0.1.2" }, "routes/r1"],
    ];
    const before = world.state;
    for (const [kind, spec, other] of cases) {
      const error = refusal(() => world.put(kind, spec));
      t.match(
        error,
        { code: "conflict", details: { object: other } },
        `${kind} ${spec.name}: ${error.message}`,
      );
    }
    t.equal(world.state, before, "nothing was stored");
    world.put("dnat", { ...dnatB, name: "d2", protocol: "udp" });
    world.put("dnat", { ...dnatB, name: "d3", eip: "eip-a" });
    world.put("fip", { name: "fip-b", eip: "eip-b", internalIp: "10.0.1.8" });
    world.put("snat", { name: "s2", eip: "eip-b", internalCIDR: "10.0.1.0/24" });
    world.put("fip", { name: "fip-c", eip: "eip-x", internalIp: "10.0.1.5" });
    t.equal(world.names("fip").length, 3, "two FIPs may lead to one internal IP, and stand beside DNATs");
    t.end();
  });

  t.test("a full set's default gateway is not the gateway itself", (t) => {
    const world = new World();
    const own = { defaultGateway: "203.0.113.2" };
    world.set({ generation: 1, gateway: own });
    world.ownAddresses.add("203.0.113.2" as Ip);
    world.set({ generation: 2, gateway: own, routes: [] });
    world.set({ generation: 3, gateway: { defaultGateway: "203.0.113.1" } });
    t.match(
      refusal(() => world.set({ generation: 4, gateway: own })),
      { code: "conflict", message: "gateway/defaultGateway: 203.0.113.2 is the gateway's own address" },
    );
    t.equal(world.state.lastFullSet?.generation, 3);
    world.set({ generation: 4, gateway: { defaultGateway: "203.0.113.3" } });
    t.end();
  });

  t.test("the gateway's own addresses, reserved ones and the default gateway's are conflicts", (t) => {
    const world = withEips();
    world.ownAddresses.add("203.0.113.2" as Ip);
    world.fallbackGateway = "203.0.113.1" as Ip;
    world.connectedSubnets = [{ interface: "eth0", cidr: "10.0.1.0/24" }] as ConnectedSubnet[];
    const cases: [Kind, { name: string; [field: string]: unknown }, string][] = [
      ["eip", { name: "x", address: "203.0.113.2/24" }, "gateway"],
      ["eip", { name: "x", address: "203.0.113.1/24" }, "gateway"],
      ["eip", { name: "x", address: "203.0.113.0/24" }, "subnet"],
      ["eip", { name: "x", address: "203.0.113.255/24" }, "subnet"],
      ["fip", { name: "x", eip: "eip-a", internalIp: "203.0.113.2" }, "gateway"],
      ["dnat", { ...dnatB, internalIp: "203.0.113.2" }, "gateway"],
      [
        "dnat",
        {
          name: "x",
          eip: "eip-a",
          protocol: "udp",
          externalPort: 53,
          backends: [{ ip: "203.0.113.2", port: 1 }],
        },
        "gateway",
      ],
      ["route", { name: "x", destination: "0.0.0.0/0", via: "10.0.1.1" }, "gateway"],
      ["route", { name: "x", destination: "203.0.113.1/32", via: "10.0.1.5" }, "gateway"],
      ["route", { name: "x", destination: "10.9.0.0/16", via: "203.0.113.2" }, "gateway"],
      ["eip", { name: "x", address: "10.0.1.50/25" }, "subnet"],
      ["eip", { name: "eip-a", address: "10.0.1.50/24" }, "subnet"],
    ];
    for (const [kind, spec, other] of cases)
      t.match(
        refusal(() => world.put(kind, spec)),
        { code: "conflict", details: { object: other } },
        other,
      );
    world.put("eip", { name: "x", address: "198.51.100.0/31" });
    world.put("eip", { name: "y", address: "198.51.100.255/32" });
    world.put("eip", { name: "z", address: "10.0.1.50/32" });
    world.fallbackGateway = undefined;
    world.put("route", { name: "x", destination: "0.0.0.0/0", via: "10.0.1.1" });
    t.end();
  });

  t.test("only clashes that the write brings count", (t) => {
    const world = new World();
    world.set({ generation: 1, eips: [eipA], fips: [fipA, { ...fipA, name: "fip-z" }] });
    world.put("fip", fipB);
    world.put("eip", { ...eipA, address: "203.0.113.12/24" });
    t.equal(
      refusal(() => world.put("fip", { ...fipA, name: "fip-z" })).code,
      "conflict",
      "its own still does",
    );
    world.put("fip", { ...fipA, name: "fip-z", eip: "eip-z" });
    t.end();
  });

  t.test("a write must not make an accepted object clash", (t) => {
    const world = withEips();
    world.put("fip", fipA);
    world.put("fip", fipB);
    const error = refusal(() => world.put("fip", { ...fipA, eip: "eip-b" }));
    t.match(error, { code: "conflict", details: { object: "fips/fip-b" } });
    world.put("dnat", dnatB);
    world.put("dnat", { ...dnatB, name: "d2", externalPort: 81 });
    const moved = refusal(() => world.put("dnat", { ...dnatB, externalPort: 81 }));
    t.match(moved, { code: "conflict", details: { object: "dnats/d2" } });
    t.end();
  });

  t.test("an invalid value is 422 with a pointer", (t) => {
    const world = withEips();
    const error = refusal(() => world.put("fip", { ...fipA, internalIp: "127.0.0.1" }));
    t.match(error, { code: "invalid", issues: [{ pointer: "/internalIp" }] });
    t.end();
  });
  t.end();
});

t.test("DELETE", (t) => {
  t.test("the refusal for an Eip in use names its users; a delete with its users succeeds", (t) => {
    const world = withEips();
    world.put("snat", { name: "s", eip: "eip-a", internalCIDR: "10.0.1.0/24" });
    world.put("fip", { ...fipA, uid: "uid-fip" });
    const error = refusal(() => world.delete("eip", "eip-a"));
    t.match(error, { code: "in-use", details: { users: ["fips/fip-a", "snats/s"] } });
    const decision = world.delete("eip", "eip-a", { isCascading: true });
    t.strictSame(new Set(decision.removed), new Set(["eips/eip-a", "fips/fip-a", "snats/s"]));
    t.strictSame([world.names("eip"), world.names("fip"), world.names("snat")], [["eip-b"], [], []]);
    t.equal(refusal(() => world.put("fip", { ...fipA, uid: "uid-fip" })).code, "gone", "a cascade remembers");
    t.end();
  });

  t.test("a Limit counts as a user of its Eip", (t) => {
    const world = withEips();
    world.put("limit", { name: "l", eip: "eip-a", direction: "ingress", rateMbit: 10, uid: "uid-limit" });
    world.put("limit", { name: "m", interface: "external", direction: "ingress", rateMbit: 10 });
    const error = refusal(() => world.delete("eip", "eip-a"));
    t.match(error, { code: "in-use", details: { users: ["limits/l"] } });
    t.equal(refusal(() => world.batch({ delete: { eips: ["eip-a"] } })).code, "in-use");
    t.match(
      refusal(() => world.put("limit", { name: "n", interface: "net1", direction: "ingress", rateMbit: 1 })),
      { code: "conflict", details: { object: "limits/m" } },
      "by whatever name",
    );
    world.delete("eip", "eip-a", { isCascading: true });
    t.strictSame(world.names("limit"), ["m"]);
    t.end();
  });

  t.test("deleting an absent object is not-found, also the second time", (t) => {
    const world = withEips();
    const { revision } = world.state.desired;
    t.equal(refusal(() => world.delete("fip", "nope")).code, "not-found");
    world.delete("eip", "eip-a");
    t.equal(refusal(() => world.delete("eip", "eip-a")).code, "not-found");
    t.equal(world.state.desired.revision, revision + 1);
    t.end();
  });

  t.test("deleting the older of two clashing objects admits the newer", (t) => {
    const world = new World();
    world.set({ generation: 1, eips: [eipA], fips: [fipA, { ...fipA, name: "fip-z" }] });
    world.delete("fip", "fip-a");
    world.put("fip", { ...fipA, name: "fip-z" });
    t.equal(world.stored("fip", "fip-z")?.revision, 1);
    t.end();
  });
  t.end();
});

t.test("If-Match", (t) => {
  const world = withEips();
  t.match(
    refusal(() => world.put("fip", fipA, [1])),
    { code: "precondition-failed", details: { revision: 2 } },
  );
  t.equal(refusal(() => world.put("fip", fipA, [])).code, "precondition-failed", "no tag of ours");
  t.equal(refusal(() => world.delete("eip", "eip-a", { ifMatch: [7] })).code, "precondition-failed");
  t.equal(refusal(() => world.batch({}, [7])).code, "precondition-failed");
  t.equal(refusal(() => world.renew([], [7])).code, "precondition-failed");
  t.equal(refusal(() => world.set({ generation: 0 }, [7])).code, "precondition-failed");
  world.put("fip", fipA, [1, 2]);
  world.put("fip", { ...fipA, internalIp: "10.0.1.9" }, "*");
  t.equal(world.state.desired.revision, 4);
  t.equal(
    refusal(() => new World().put("eip", eipA, "*")).code,
    "precondition-failed",
    "unset is nothing yet",
  );
  t.end();
});

t.test("If-None-Match on a PUT of one object", (t) => {
  const world = withEips();
  world.put("fip", fipA, undefined, "*");
  t.match(
    refusal(() => world.put("fip", { ...fipA, internalIp: "10.0.1.9" }, undefined, "*")),
    { code: "precondition-failed", message: "fips/fip-a exists", details: { revision: 3 } },
  );
  t.equal(refusal(() => world.put("fip", fipA, undefined, [2, 3])).code, "precondition-failed");
  world.put("fip", { ...fipA, internalIp: "10.0.1.9" }, [3], [2]);
  t.equal(world.state.desired.revision, 4);
  t.end();
});

t.test("batch", (t) => {
  t.test("is judged on its result, deletes first", (t) => {
    const world = withEips();
    world.put("fip", fipA);
    const decision = world.batch({
      delete: { fips: ["fip-a", "never-was", "fip-a"] },
      upsert: {
        fips: [{ ...fipA, name: "fip-c" }],
        snats: [{ name: "s", eip: "eip-a", internalCIDR: "10.0.1.5/32" }],
      },
    });
    t.strictSame(decision.touched, ["fips/fip-c", "snats/s"]);
    t.strictSame(decision.removed, ["fips/fip-a"]);
    t.strictSame(world.names("fip"), ["fip-c"]);
    t.equal(world.state.desired.revision, 4);
    t.end();
  });

  t.test("a swap of two identities passes", (t) => {
    const world = withEips();
    world.put("fip", fipA);
    world.put("fip", fipB);
    world.batch({
      upsert: {
        fips: [
          { ...fipA, eip: "eip-b" },
          { ...fipB, eip: "eip-a" },
        ],
      },
    });
    t.match(world.stored("fip", "fip-a"), { creation: 3, spec: { eip: "eip-b" } });
    t.end();
  });

  t.test("any clash refuses it whole", (t) => {
    const world = withEips();
    const before = world.state;
    const clash = { upsert: { fips: [fipA, { ...fipA, name: "fip-c" }, fipB] } };
    t.match(
      refusal(() => world.batch(clash)),
      {
        code: "conflict",
        details: { object: "fips/fip-a", clashes: [{ object: "fips/fip-c", with: "fips/fip-a" }] },
      },
    );
    t.equal(world.state, before);
    t.end();
  });

  t.test("an Eip that is in use afterwards stays", (t) => {
    const world = withEips();
    world.put("fip", fipA);
    t.match(
      refusal(() => world.batch({ delete: { eips: ["eip-a"] } })),
      {
        code: "in-use",
        details: { users: ["fips/fip-a"] },
      },
    );
    world.batch({ delete: { eips: ["eip-a"], fips: ["fip-a"] } });
    t.strictSame(world.names("eip"), ["eip-b"]);
    const user = { delete: { eips: ["eip-b"] }, upsert: { fips: [fipB] } };
    t.equal(refusal(() => world.batch(user)).code, "in-use");
    world.batch({ delete: { eips: ["eip-b"] }, upsert: { eips: [eipB], fips: [fipB] } });
    t.end();
  });

  t.test("a name that is deleted and upserted becomes a new object", (t) => {
    const world = withEips();
    world.put("fip", { ...fipA, uid: "u1" });
    world.put("fip", fipB);
    const same = { delete: { fips: ["fip-a"] }, upsert: { fips: [{ ...fipA, uid: "u1" }] } };
    t.equal(refusal(() => world.batch(same)).code, "gone", "the life that it ends does not go on");
    const decision = world.batch({ delete: { fips: ["fip-a"] }, upsert: { fips: [{ ...fipA, uid: "u2" }] } });
    t.strictSame(decision.removed, []);
    t.strictSame(world.names("fip"), ["fip-b", "fip-a"]);
    t.match(world.stored("fip", "fip-a"), { creation: 5, spec: { uid: "u2" } });
    t.end();
  });

  t.test("FIPs are older than DNATs, then by position; pointers lead into the body", (t) => {
    const world = new World();
    world.batch({
      upsert: { dnats: [dnatB], fips: [fipB, fipA].map((fip) => ({ ...fip, eip: `e-${fip.name}` })) },
    });
    t.equal(world.stored("fip", "fip-b")?.creation, 1);
    t.equal(world.stored("fip", "fip-a")?.creation, 2);
    t.equal(world.stored("dnat", "dnat-b")?.creation, 3);
    const twice = { upsert: { fips: [fipA, fipA], eips: [{ name: "e", address: "224.0.0.1/24" }] } };
    t.match(refusal(() => world.batch(twice)).issues, [
      { pointer: "/upsert/eips/0/address" },
      { pointer: "/upsert/fips/1/name" },
    ]);
    t.end();
  });

  t.test("an empty one changes nothing", (t) => {
    const world = new World();
    t.strictSame(world.batch({}).changes, []);
    t.equal(world.state.isSet, false);
    t.end();
  });
  t.end();
});

t.test("full sets", (t) => {
  const set = {
    generation: 42,
    gateway: { defaultGateway: "203.0.113.1" },
    eips: [eipA, eipB],
    fips: [fipA],
  };

  t.test("replace everything, including objects of single writes", (t) => {
    const world = new World();
    world.put("fip", fipB);
    const decision = world.set(set);
    t.strictSame(decision.removed, ["fips/fip-b"]);
    t.strictSame(decision.touched, ["eips/eip-a", "eips/eip-b", "fips/fip-a"]);
    t.match(world.state.desired, { generation: 42, revision: 2, gateway: { defaultGateway: "203.0.113.1" } });
    world.set({ generation: 43 });
    t.strictSame([world.names("eip"), world.names("fip"), world.state.desired.gateway], [[], [], {}]);
    t.end();
  });

  t.test(
    "a replay is recognized in any order and notation, before If-Match, and undoes no later write",
    (t) => {
      const world = new World();
      world.set({ ...set, snats: [{ name: "s", eip: "eip-a", internalCIDR: "10.0.1.0/24" }] });
      world.delete("fip", "fip-a");
      const before = world.state;
      const again = {
        ...set,
        eips: [{ address: eipB.address, name: eipB.name }, eipA],
        snats: [{ internalCIDR: "10.0.1.200/24", name: "s", eip: "eip-a" }],
      };
      const decision = world.set(again, [999]);
      t.match(decision, { isReplay: true, changes: [], touched: ["eips/eip-b", "eips/eip-a", "snats/s"] });
      t.strictSame(world.state, before);
      t.end();
    },
  );

  t.test("an absent gateway and an empty one are the same content", (t) => {
    const world = new World();
    world.set({ generation: 1 });
    t.equal(world.set({ generation: 1, gateway: {} }).isReplay, true);
    t.end();
  });

  t.test("the generation must rise, unless If-Match names the present revision", (t) => {
    const world = new World();
    world.set(set);
    t.match(
      refusal(() => world.set({ ...set, fips: [] })),
      { code: "stale-generation", details: { generation: 42 } },
    );
    t.equal(refusal(() => world.set({ ...set, generation: 41 })).code, "stale-generation");
    t.equal(refusal(() => world.set({ ...set, generation: 41 }, "*")).code, "stale-generation");
    t.equal(refusal(() => world.set({ ...set, generation: 41 }, [0])).code, "precondition-failed");
    world.set({ ...set, generation: 7 }, [world.state.desired.revision]);
    t.equal(world.state.desired.generation, 7);
    t.equal(refusal(() => world.set({ ...set, generation: 6 })).code, "stale-generation");
    world.set({ ...set, generation: 7, fips: [] }, [world.state.desired.revision]);
    t.strictSame(world.names("fip"), []);
    t.end();
  });

  t.test("the first may have generation 0", (t) => {
    const world = new World();
    world.set({ generation: 0, eips: [eipA] });
    t.equal(world.set({ generation: 0, eips: [eipA] }).isReplay, true);
    t.equal(refusal(() => world.set({ generation: 0 })).code, "stale-generation");
    t.end();
  });

  t.test("unchanged objects keep revision and creation; changed ones their creation", (t) => {
    const world = new World();
    world.set(set);
    world.set({ ...set, generation: 43, eips: [eipB, eipA], fips: [{ ...fipA, internalIp: "10.0.1.9" }] });
    t.match(world.stored("eip", "eip-a"), { revision: 1, creation: 1 });
    t.match(world.stored("eip", "eip-b"), { revision: 1, creation: 2 });
    t.match(world.stored("fip", "fip-a"), { revision: 2, creation: 3 });
    t.end();
  });

  t.test("clashes inside are admitted, names given twice are not", (t) => {
    const world = new World();
    world.set({ ...set, dnats: [{ ...dnatB, eip: "eip-a" }], eips: [eipA, { ...eipA, name: "eip-z" }] });
    t.strictSame(world.names("dnat"), ["dnat-b"]);
    const twice = {
      generation: 50,
      gateway: { defaultGateway: "127.0.0.1" },
      routes: [],
      fips: [fipA, fipB, fipA],
    };
    t.match(
      refusal(() => world.set(twice)),
      {
        code: "invalid",
        issues: [{ pointer: "/gateway/defaultGateway" }, { pointer: "/fips/2/name" }],
      },
    );
    t.end();
  });
  t.end();
});

t.test("not adopted: only a full set passes", (t) => {
  const world = new World();
  world.isUnadopted = true;
  for (const write of [
    () => world.put("eip", eipA),
    () => world.delete("eip", "eip-a"),
    () => world.batch({}),
    () => world.renew([]),
  ])
    t.equal(refusal(write).code, "not-adopted");
  world.set({ generation: 1, eips: [eipA] });
  t.strictSame(world.names("eip"), ["eip-a"]);
  t.end();
});

t.test("uids", (t) => {
  const live = { ...fipA, uid: "u1" };

  t.test("every removal is remembered for a day, and a late PUT is gone", (t) => {
    const removals: Record<string, (world: World) => unknown> = {
      DELETE: (world) => world.delete("fip", "fip-a"),
      "DELETE ?uid=": (world) => world.delete("fip", "fip-a", { uid: "u1" }),
      cascade: (world) => world.delete("eip", "eip-a", { isCascading: true }),
      "full set": (world) => world.set({ generation: 1, eips: [eipA] }),
      batch: (world) => world.batch({ delete: { fips: ["fip-a"] } }),
      "a PUT with a new uid": (world) => world.put("fip", { ...live, uid: "u2" }),
      "an upsert with a new uid": (world) => world.batch({ upsert: { fips: [{ ...live, uid: "u2" }] } }),
      "a full set with a new uid": (world) => world.set({ generation: 1, fips: [{ ...live, uid: "u2" }] }),
    };
    for (const [how, remove] of Object.entries(removals)) {
      const world = withEips();
      world.put("fip", live);
      remove(world);
      world.pass(tombstoneMs - 1);
      t.match(
        refusal(() => world.put("fip", live)),
        { code: "gone", details: { objects: ["fips/fip-a"] } },
        how,
      );
      t.equal(refusal(() => world.batch({ upsert: { fips: [live] } })).code, "gone", how);
      t.equal(refusal(() => world.set({ generation: 2, fips: [live] })).code, "gone", how);
      world.put("fip", { ...fipA, uid: "u3" });
      world.pass(1);
      world.put("fip", live);
      t.equal(world.stored("fip", "fip-a")?.spec.uid, "u1", how);
    }
    t.end();
  });

  t.test("DELETE ?uid= remembers even where nothing, or another life, is stored", (t) => {
    const world = withEips();
    const { revision } = world.state.desired;
    t.equal(refusal(() => world.delete("fip", "fip-a", { uid: "u1" })).code, "not-found");
    t.equal(world.state.desired.revision, revision);
    t.equal(refusal(() => world.put("fip", live)).code, "gone");
    world.put("fip", { ...live, uid: "u2" });
    t.match(
      refusal(() => world.delete("fip", "fip-a", { uid: "u3" })),
      { code: "conflict", details: { uid: "u2" } },
    );
    t.equal(refusal(() => world.put("fip", { ...live, uid: "u3" })).code, "gone");
    t.equal(world.stored("fip", "fip-a")?.spec.uid, "u2");
    world.put("fip", { ...fipB });
    t.equal(
      refusal(() => world.delete("fip", "fip-b", { uid: "u4" })).code,
      "conflict",
      "no uid is another uid",
    );
    world.delete("fip", "fip-b");
    t.end();
  });

  t.test("an unset store stays unset when a delete comes before its create", (t) => {
    const world = new World();
    t.equal(refusal(() => world.delete("fip", "fip-a", { uid: "u1" })).code, "not-found");
    t.equal(world.state.isSet, false);
    t.equal(refusal(() => world.put("fip", live)).code, "gone");
    t.end();
  });

  t.test("a PUT without a uid edits the stored life", (t) => {
    const world = withEips();
    world.put("fip", live);
    world.put("fip", { ...fipA, internalIp: "10.0.1.9" });
    t.strictSame(world.stored("fip", "fip-a")?.spec, {
      name: "fip-a",
      uid: "u1",
      eip: "eip-a",
      internalIp: "10.0.1.9",
    });
    world.put("fip", { ...live, internalIp: "10.0.1.10" });
    world.delete("fip", "fip-a");
    t.equal(refusal(() => world.put("fip", live)).code, "gone");
    world.put("fip", fipA);
    t.equal(
      world.stored("fip", "fip-a")?.spec.uid,
      undefined,
      "without uids a late PUT is a write like any other",
    );
    t.end();
  });

  t.test("a uid that moves to another name in the same set is not deleted", (t) => {
    const world = new World();
    world.set({ generation: 1, fips: [live] });
    world.set({ generation: 2, fips: [{ ...live, name: "renamed" }] });
    world.put("fip", { ...live, name: "renamed", internalIp: "10.0.1.9" });
    t.end();
  });

  t.test("a full set with the current revision in If-Match revives deleted uids", (t) => {
    const world = new World();
    world.set({ generation: 9, fips: [live] });
    world.delete("fip", "fip-a");
    world.set({ generation: 3, fips: [live] }, [world.state.desired.revision]);
    t.equal(world.state.tombstones.size, 0);
    world.put("fip", { ...live, internalIp: "10.0.1.9" });
    t.end();
  });

  t.test("expired uids are forgotten by the next write", (t) => {
    const world = withEips();
    for (const uid of ["u1", "u2"]) {
      refusal(() => world.delete("fip", "fip-a", { uid }));
      world.pass(1000);
    }
    refusal(() => world.delete("fip", "fip-a", { uid: "u1" }));
    t.strictSame([...world.state.tombstones.keys()], ["fip/u2", "fip/u1"], "in order of forgetting");
    world.pass(tombstoneMs - 500);
    world.put("fip", { ...live, uid: "u2" });
    t.strictSame([...world.state.tombstones.keys()], ["fip/u1"]);
    t.end();
  });

  t.test(
    "the number of remembered uids is bounded: the oldest are evicted, and counted separately from expired ones",
    (t) => {
      const world = withEips();
      const remembered = (first: number, count: number, untilMs: number) =>
        Array.from({ length: count }, (_, index) => ({
          type: "tombstone" as const,
          key: `fip/old-${first + index}`,
          untilMs,
        }));
      const later = world.now.wallMs + 1_000;
      world.state = reduce(world.state, remembered(0, maxTombstones - 1, later));
      const typesOf = ({ changes }: Pick<Decision, "changes">, type: string) =>
        changes.filter((change) => change.type === type);
      const absent = (uid: string) => refusal(() => world.delete("fip", "fip-a", { uid }));

      absent("u1");
      t.equal(world.state.tombstones.size, maxTombstones, "up to the bound nothing goes");
      t.ok(world.state.tombstones.has("fip/old-0"));
      absent("u2");
      t.equal(world.state.tombstones.size, maxTombstones);
      t.notOk(world.state.tombstones.has("fip/old-0"), "the oldest");
      t.ok(world.state.tombstones.has("fip/u2"));
      absent("u1");
      t.equal(world.state.tombstones.size, maxTombstones);
      t.ok(world.state.tombstones.has("fip/old-1"), "what is remembered already takes no room");

      world.put("fip", { ...live, uid: "u9" });
      const decision = world.delete("fip", "fip-a");
      t.strictSame(typesOf(decision, "evict-tombstone"), [{ type: "evict-tombstone", key: "fip/old-1" }]);
      t.strictSame(typesOf(decision, "forget-tombstone"), []);

      // A journal written before the limit existed: each write removes some of the surplus, none all of it.
      world.state = reduce(world.state, remembered(maxTombstones, 3_000, later));
      t.equal(typesOf(world.put("fip", { ...live, uid: "u8" }), "evict-tombstone").length, 1_000);
      world.put("fip", { ...live, uid: "u8", internalIp: "10.0.1.77" });
      world.put("fip", { ...live, uid: "u8", internalIp: "10.0.1.78" });
      t.equal(world.state.tombstones.size, maxTombstones);

      world.pass(2_000);
      const due = world.put("fip", { ...live, uid: "u8", internalIp: "10.0.1.79" });
      t.equal(typesOf(due, "forget-tombstone").length, 1_000);
      t.equal(typesOf(due, "evict-tombstone").length, 0);
      t.end();
    },
  );

  t.test("a write that deletes more uids than the limit remembers the last ones", (t) => {
    const { state, now } = withEips();
    const keys = Array.from({ length: maxTombstones + 1 }, (_, index) => `fip/${index}`);
    const { tombstones } = reduce(state, remember(state, keys, now));
    t.equal(tombstones.size, maxTombstones);
    t.notOk(tombstones.has("fip/0"));
    t.ok(tombstones.has("fip/1"));
    t.end();
  });
  t.end();
});

t.test("leases", (t) => {
  const leased = { ...eipA, leaseSeconds: 30 };
  const none: ReadonlySet<ObjectName> = new Set();
  const expired = (world: World) => [...expiredLeases(world.state, world.now)];

  t.test("run out unless a write that contains the Eip, or a renewal, comes in time", (t) => {
    const signs: Record<string, (world: World) => unknown> = {
      PUT: (world) => world.put("eip", leased),
      batch: (world) => world.batch({ upsert: { eips: [leased] } }),
      replay: (world) => world.set({ generation: 1, eips: [leased, eipB] }),
      "full set": (world) => world.set({ generation: 2, eips: [leased] }),
      renewal: (world) => world.renew(["eip-a", "eip-b"]),
    };
    for (const [how, sign] of Object.entries(signs)) {
      const world = new World();
      world.set({ generation: 1, eips: [leased, eipB] });
      t.equal(nextExpiryMs(world.state, world.now, none), 30_000);
      world.pass(29_000);
      const { revision } = world.state.desired;
      sign(world);
      if (how !== "full set")
        t.equal(world.state.desired.revision, revision, `${how}: a sign of life is no write`);
      world.pass(29_999);
      t.strictSame(expired(world), [], how);
      t.equal(nextExpiryMs(world.state, world.now, none), 1);
      world.pass(1);
      t.strictSame(expired(world), ["eip-a"], how);
      t.equal(nextExpiryMs(world.state, world.now, none), 0, "it expired during the pass");
      t.equal(nextExpiryMs(world.state, world.now, new Set(expired(world))), undefined);
      const before = world.state.desired.revision;
      const { revision: written } = world.stored("eip", "eip-a") ?? {};
      if (how !== "full set") sign(world);
      else world.renew(["eip-a"]);
      t.strictSame(expired(world), [], `${how} revives`);
      t.equal(world.state.desired.revision, before + 1, `${how}: a revival is something to program`);
      t.equal(world.stored("eip", "eip-a")?.revision, written);
    }
    t.end();
  });

  t.test("writes of its users or of other Eips do not renew a lease", (t) => {
    const world = new World();
    world.put("eip", leased);
    world.pass(20_000);
    world.put("fip", fipA);
    world.put("eip", eipB);
    world.pass(10_000);
    t.strictSame(expired(world), ["eip-a"]);
    t.strictSame(world.names("fip"), ["fip-a"], "both stay stored");
    t.end();
  });

  t.test("the boot clock counts within a boot, the wall clock across", (t) => {
    const world = new World();
    world.put("eip", leased);
    world.now = { ...world.now, wallMs: world.now.wallMs + 3_600_000 };
    t.strictSame(expired(world), [], "someone set the clock");
    world.now = { ...world.now, bootId: "boot-2", bootMs: 5 };
    t.strictSame(expired(world), ["eip-a"], "an hour of darkness");
    t.end();
  });

  t.test("after a boot at least the uptime has passed, however far the wall clock is behind", (t) => {
    for (const behindMs of [0, 75_000, 50 * 365 * 86_400_000]) {
      const world = new World();
      world.put("eip", leased);
      const wallMs = world.now.wallMs - behindMs;
      world.now = { bootId: "boot-2", bootMs: 29_999, wallMs };
      t.strictSame(expired(world), [], `${behindMs} ms behind`);
      t.equal(nextExpiryMs(world.state, world.now, none), 1);
      world.now = { bootId: "boot-2", bootMs: 30_000, wallMs };
      t.strictSame(expired(world), ["eip-a"]);
      world.renew(["eip-a"]);
      world.pass(29_999);
      t.strictSame(expired(world), [], "renewed in the new boot it counts from there");
    }
    t.end();
  });

  t.test("removing a lease, or its Eip, leaves nothing behind", (t) => {
    const world = new World();
    world.put("eip", leased);
    world.put("eip", eipA);
    t.equal(world.state.leases.size, 0);
    world.put("eip", leased);
    world.delete("eip", "eip-a");
    t.equal(world.state.leases.size, 0);
    t.end();
  });

  t.test("renewing what is not stored is not-found, and renews the rest", (t) => {
    const world = new World();
    world.put("eip", leased);
    world.pass(29_000);
    t.match(
      refusal(() => world.renew(["eip-x", "eip-a"])),
      { code: "not-found", details: { eips: ["eip-x"] } },
    );
    world.pass(29_000);
    t.strictSame(expired(world), []);
    t.end();
  });

  t.test("an expired lease does not delete the uid", (t) => {
    const world = new World();
    world.put("eip", { ...leased, uid: "u1" });
    world.pass(60_000);
    world.put("eip", { ...leased, uid: "u1" });
    t.strictSame(expired(world), []);
    t.end();
  });
  t.end();
});

function contentOf(set: PlainSet): string {
  return runSync(contentText(runSync(canonicalFullSet(fullSet(set)))));
}

t.test("the content of a set does not depend on order, keys or host bits, and does on all else", (t) => {
  const text = (set: Omit<PlainSet, "generation">) => contentOf({ generation: 1, ...set });
  const base = text({
    eips: [eipA, eipB],
    routes: [{ name: "r", destination: "10.0.0.0/16", via: "10.0.1.1" }],
  });
  const same = {
    routes: [{ via: "10.0.1.1", destination: "10.0.5.5/16", name: "r" }],
    eips: [eipB, eipA],
    gateway: {},
  };
  t.equal(text(same), base);
  t.not(text({ ...same, gateway: { defaultGateway: "203.0.113.1" } }), base);
  t.not(text({ ...same, eips: [eipB, { ...eipA, uid: "u" }] }), base);
  t.not(text({ ...same, eips: [eipB, { ...eipA, address: "203.0.113.12/24" }] }), base);
  t.end();
});

t.test("a set without Limits has the same form as before the kind existed", (t) => {
  const limit = { name: "l", eip: "eip-a", direction: "ingress", rateMbit: 10 };
  const world = new World();
  world.set({ generation: 1, eips: [eipA], limits: [limit] });
  t.strictSame(world.names("limit"), ["l"]);
  t.equal(world.set({ generation: 1, eips: [eipA], limits: [limit] }).isReplay, true);
  world.set({ generation: 2, eips: [eipA] });
  t.strictSame(world.names("limit"), [], "left out means none");
  t.equal(world.set({ generation: 2, eips: [eipA], limits: [] }).isReplay, true);
  const text = contentOf({ generation: 1, eips: [eipA] });
  t.equal(
    text,
    '{"gateway":{},"eips":[{"name":"eip-a","address":"203.0.113.10/24"}],"fips":[],"snats":[],"dnats":[],"routes":[]}',
    "digests that were stored earlier hold",
  );
  t.end();
});

t.test("errors in the gateway of a set", (t) => {
  t.strictSame(gatewayIssues({ defaultGateway: "0.0.0.0" as Ip }).length, 1);
  t.strictSame(gatewayIssues({}), []);
  t.end();
});
