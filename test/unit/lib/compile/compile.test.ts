import t from "tap";
import { findClashes } from "../../../../lib/compile/clashes.ts";
import { compile } from "../../../../lib/compile/compile.ts";
import type { CompileContext } from "../../../../lib/kinds/compilation.ts";
import { type ConnectedSubnet, connectedSubnets, isSameSubnets } from "../../../../lib/kinds/facts.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { InterfaceName, ObjectId, ObjectName } from "../../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../../lib/model/observed.ts";
import { type PlainSet, World } from "../../../support/admission.ts";
import { dnat, eip, fip, limit, route, snat } from "../../../support/specs.ts";

const quiet: CompileContext = {
  family: ipv4,
  vpcInterface: "eth0" as InterfaceName,
  externalInterface: "net1" as InterfaceName,
  fallbackGateway: undefined,
  ownAddresses: new Set(),
  connectedSubnets: undefined,
  expiredLeases: new Set(),
  addressConflicts: new Map(),
  quarantined: new Map(),
  missingInterfaces: new Set(),
};

function desiredOf(...sets: Omit<PlainSet, "generation">[]) {
  const world = new World();
  for (const [index, set] of sets.entries()) world.set({ generation: index + 1, ...set });
  return world.state.desired;
}

t.test("clashes: the older one stays, the newer one is marked", (t) => {
  const facts = {
    ...quiet,
    connectedSubnets: [
      { interface: "eth0", cidr: "10.0.1.0/24" },
      { interface: "net1", cidr: "203.0.113.0/24" },
    ] as ConnectedSubnet[],
    ownAddresses: new Set(["203.0.113.2", "10.0.0.2"] as Ip[]),
  };
  const cases: [string, Omit<PlainSet, "generation">[], Record<string, string>][] = [
    ["two FIPs on one EIP", [{ fips: [fip("a", "e"), fip("b", "e")] }], { "fips/b": "fips/a" }],
    ["FIP and DNAT on one EIP, whichever is older", [{ dnats: [dnat("a", "e")], fips: [fip("b", "e")] }], {}],
    [
      "the oldest of several FIPs on one EIP",
      [{ fips: [fip("c", "e")] }, { fips: [fip("a", "e"), fip("b", "e"), fip("c", "e")] }],
      { "fips/a": "fips/c", "fips/b": "fips/c" },
    ],
    [
      "one address twice, whatever the prefix",
      [{ eips: [eip("a", 10), { name: "b", address: "203.0.113.10/32" }] }],
      { "eips/b": "eips/a" },
    ],
    [
      "a DNAT names the oldest of its identity",
      [
        { dnats: [dnat("c", "e")] },
        { dnats: [dnat("a", "e"), dnat("b", "e", 81), dnat("c", "e")], fips: [fip("c", "e")] },
      ],
      { "dnats/a": "dnats/c" },
    ],
    ["the gateway's own address", [{ eips: [eip("a", 2)] }], { "eips/a": "gateway" }],
    [
      "the default gateway's",
      [{ gateway: { defaultGateway: "203.0.113.1" }, eips: [eip("a", 1)] }],
      { "eips/a": "gateway" },
    ],
    [
      "network and broadcast",
      [{ eips: [eip("a", 0), eip("b", 255)] }],
      { "eips/a": "subnet", "eips/b": "subnet" },
    ],
    [
      "a next hop that is the gateway's own address",
      [
        {
          routes: [
            { name: "a", destination: "10.9.0.0/16", via: "10.0.0.2" },
            { name: "b", destination: "10.9.0.0/16", via: "10.0.0.3" },
          ],
        },
      ],
      { "routes/a": "gateway" },
    ],
    [
      "internal IPs that are the gateway's own",
      [
        {
          fips: [fip("a", "e", "10.0.0.2")],
          dnats: [
            dnat("b", "f", 1, { internalIp: "10.0.0.2" }),
            dnat("c", "f", 2, {
              backends: [
                { ip: "10.0.0.3", port: 1 },
                { ip: "10.0.0.2", port: 1 },
              ],
            }),
          ],
        },
      ],
      { "fips/a": "gateway", "dnats/b": "gateway", "dnats/c": "gateway" },
    ],
    [
      "one DNAT identity; other ports and protocols are others",
      [
        {
          dnats: [
            dnat("a", "e"),
            dnat("b", "e"),
            dnat("c", "e", 81),
            dnat("d", "e", 80, { protocol: "udp" }),
          ],
        },
      ],
      { "dnats/b": "dnats/a" },
    ],
    [
      "one SNAT identity; other EIPs and CIDRs are others",
      [
        {
          snats: [
            snat("a", "e"),
            snat("b", "e", "10.0.1.77/24"),
            snat("c", "f"),
            snat("d", "e", "10.0.1.0/25"),
          ],
        },
      ],
      { "snats/b": "snats/a" },
    ],
    [
      "one destination",
      [{ routes: [route("a", "10.0.0.0/16"), route("b", "10.0.9.9/16", { interface: "external" })] }],
      { "routes/b": "routes/a" },
    ],
    [
      "Routes that cover the next hop, whatever way they lead",
      [
        {
          gateway: { defaultGateway: "203.0.113.1" },
          routes: [
            route("a", "0.0.0.0/0"),
            route("b", "203.0.113.1/32"),
            route("c", "203.0.113.0/30", { interface: "external" }),
            route("d", "203.0.0.0/16"),
            route("e", "203.0.113.2/32"),
            route("f", "203.0.113.128/25"),
            route("g", "10.0.0.0/8"),
          ],
        },
      ],
      { "routes/a": "gateway", "routes/b": "gateway", "routes/c": "gateway", "routes/d": "gateway" },
    ],
    [
      "an EIP whose prefix eclipses a subnet of another interface",
      [
        {
          eips: [
            { name: "half", address: "10.0.1.50/25" },
            { name: "same", address: "10.0.1.51/24" },
            { name: "elsewhere", address: "203.0.113.20/24", interface: "net2" },
            { name: "wider", address: "10.0.1.52/16" },
            { name: "single", address: "10.0.1.53/32" },
            { name: "there", address: "10.0.1.54/25", interface: "eth0" },
            { name: "beside", address: "10.0.2.50/24" },
            eip("ok", 10),
          ],
        },
      ],
      { "eips/half": "subnet", "eips/same": "subnet", "eips/elsewhere": "subnet" },
    ],
    [
      "a marked object takes nothing from others",
      [
        {
          eips: [eip("a", 2), eip("b", 10), eip("c", 10)],
          fips: [fip("a", "e", "10.0.0.2"), fip("b", "e"), fip("c", "e")],
        },
      ],
      { "eips/a": "gateway", "eips/c": "eips/b", "fips/a": "gateway", "fips/c": "fips/b" },
    ],
    [
      "SNATs share an EIP with either",
      [{ fips: [fip("a", "e")], dnats: [dnat("b", "f")], snats: [snat("c", "e"), snat("d", "f")] }],
      {},
    ],
  ];
  for (const [what, sets, expected] of cases) {
    const clashes = findClashes(desiredOf(...sets), facts);
    const found = Object.fromEntries([...clashes].map(([id, clash]) => [id, clash.with]));
    t.strictSame(found, expected, what);
  }
  const fallback = { ...facts, fallbackGateway: "203.0.113.1" as Ip };
  t.equal(findClashes(desiredOf({ routes: [route("a", "0.0.0.0/0")] }), fallback).size, 1);
  t.equal(findClashes(desiredOf({ eips: [eip("a", 1)] }), fallback).size, 1);
  const desired = desiredOf({ eips: [eip("a", 1)], gateway: { defaultGateway: "203.0.113.3" } });
  t.equal(findClashes(desired, fallback).size, 0, "the desired gateway stands in for the fallback");
  t.equal(findClashes(desiredOf({ routes: [route("a", "0.0.0.0/0")] }), facts).size, 0);
  const eclipsing = desiredOf({ eips: [{ name: "a", address: "10.0.1.50/25" }] });
  t.match(findClashes(eclipsing, facts).get("eips/a"), {
    message: /10\.0\.1\.0\/25 .* 10\.0\.1\.0\/24 on eth0/,
  });
  t.equal(findClashes(eclipsing, quiet).size, 0, "nothing is known before the first reading");
  t.end();
});

t.test("an EIP whose interface is gone takes packets from no other interface", async (t) => {
  const desired = desiredOf({ eips: [eip("e", 10)] });
  // net1 was renamed.
  const connectedSubnets = [{ interface: "net9", cidr: "203.0.113.0/24" }] as ConnectedSubnet[];
  const reasonOf = (missing: readonly InterfaceName[]) => {
    const missingInterfaces = new Set(missing);
    return compile(desired, { ...quiet, connectedSubnets, missingInterfaces }).blocked.get("eips/e")?.reason;
  };
  t.equal(reasonOf([]), "Conflict");
  t.equal(reasonOf([quiet.externalInterface]), "InterfaceNotFound");
});

t.test("an EIP in a subnet that its own interface connects adds no route", async (t) => {
  const connectedSubnets = ["net2", "net1", "net3"].map((name) => ({
    interface: name,
    cidr: "203.0.113.0/24",
  })) as ConnectedSubnet[];
  const reasonOf = (address: string) => {
    const desired = desiredOf({ eips: [{ name: "e", address }] });
    return compile(desired, { ...quiet, connectedSubnets }).blocked.get("eips/e")?.reason;
  };
  t.equal(reasonOf("203.0.113.10/24"), undefined, "secondary to the interface's own");
  t.equal(reasonOf("203.0.113.10/25"), "Conflict", "a route of its own");
});

t.test("connected subnets are those of the gateway's own addresses", (t) => {
  const address = (name: string, text: string, prefixLength: number) => ({
    interface: name as InterfaceName,
    address: text as Ip,
    prefixLength,
    isSecondary: false,
    label: "",
  });
  const network: ObservedNetwork = {
    links: [],
    addresses: [
      address("eth0", "10.0.1.254", 24),
      address("net1", "203.0.113.2", 24),
      address("net1", "203.0.113.10", 25),
      address("net1", "203.0.113.3", 24),
      address("lo", "192.0.2.1", 32),
    ],
    routes: [],
    sysctls: new Map(),
  };
  const own = new Set(["10.0.1.254", "203.0.113.2", "203.0.113.3", "192.0.2.1"] as Ip[]);
  const subnets = connectedSubnets(network, own);
  t.strictSame(subnets, [
    { interface: "eth0", cidr: "10.0.1.0/24" },
    { interface: "net1", cidr: "203.0.113.0/24" },
  ]);
  t.ok(isSameSubnets(subnets, structuredClone(subnets)));
  t.notOk(isSameSubnets(subnets, subnets.slice(1)));
  t.notOk(isSameSubnets(subnets, subnets.toReversed()));
  t.end();
});

t.test("compile", (t) => {
  t.test("resolves what is in order", (t) => {
    const desired = desiredOf({
      gateway: { defaultGateway: "203.0.113.1" },
      eips: [eip("e1", 10), eip("e2", 11, { interface: "net2" }), eip("e3", 12)],
      fips: [fip("f1", "e1"), fip("f3", "e3")],
      dnats: [
        dnat("d1", "e2"),
        dnat("d2", "e2", 81, {
          backends: [
            { ip: "10.0.1.8", port: 1 },
            { ip: "10.0.1.9", port: 2 },
          ],
          sessionAffinity: "None",
        }),
        dnat("d3", "e2", 82, {
          backends: [
            { ip: "10.0.1.8", port: 80 },
            { ip: "10.0.1.8", port: 9 },
            { ip: "10.0.1.7", port: 90 },
          ],
          sessionAffinity: "ClientIP",
        }),
      ],
      snats: [snat("s1", "e1", "10.0.0.0/16"), snat("s2", "e2", "10.0.1.0/24", { mapping: "preserve" })],
      routes: [route("r1", "10.9.0.0/16"), route("r2", "192.0.2.0/24", { interface: "external" })],
    });
    const { program, blocked, idle, usedBy } = compile(desired, quiet);
    t.strictSame(program, {
      family: ipv4,
      vpcInterface: "eth0",
      externalInterface: "net1",
      defaultGateway: "203.0.113.1",
      eips: [
        { id: "eips/e1", address: "203.0.113.10", prefixLength: 24, interface: "net1" },
        { id: "eips/e2", address: "203.0.113.11", prefixLength: 24, interface: "net2" },
        { id: "eips/e3", address: "203.0.113.12", prefixLength: 24, interface: "net1" },
      ],
      fips: [
        { id: "fips/f1", eip: "203.0.113.10", internalIp: "10.0.1.5", isOutward: true },
        { id: "fips/f3", eip: "203.0.113.12", internalIp: "10.0.1.5", isOutward: false },
      ],
      dnats: [
        {
          id: "dnats/d1",
          eip: "203.0.113.11",
          protocol: "tcp",
          externalPort: 80,
          backends: [{ ip: "10.0.1.7", port: 8080 }],
        },
        {
          id: "dnats/d2",
          eip: "203.0.113.11",
          protocol: "tcp",
          externalPort: 81,
          backends: [
            { ip: "10.0.1.8", port: 1 },
            { ip: "10.0.1.9", port: 2 },
          ],
          isList: true,
        },
        {
          id: "dnats/d3",
          eip: "203.0.113.11",
          protocol: "tcp",
          externalPort: 82,
          backends: [
            { ip: "10.0.1.7", port: 90 },
            { ip: "10.0.1.8", port: 9 },
            { ip: "10.0.1.8", port: 80 },
          ],
          isList: true,
          isSticky: true,
        },
      ],
      pools: [
        {
          cidr: "10.0.1.0/24",
          interface: "net2",
          members: [{ id: "snats/s2", eip: "203.0.113.11", mapping: "preserve" }],
        },
        {
          cidr: "10.0.0.0/16",
          interface: "net1",
          members: [{ id: "snats/s1", eip: "203.0.113.10", mapping: "random" }],
        },
      ],
      routes: [
        { id: "routes/r1", destination: "10.9.0.0/16", via: "10.0.1.1", interface: "eth0" },
        { id: "routes/r2", destination: "192.0.2.0/24", via: "10.0.1.1", interface: "net1" },
      ],
    });
    t.equal(blocked.size + idle.size, 0);
    t.strictSame(usedBy.get("e2" as ObjectName), ["snats/s2", "dnats/d1", "dnats/d2", "dnats/d3"]);
    t.end();
  });

  t.test("pools: one for each CIDR and interface, longest prefix first, then by address as a number", (t) => {
    const desired = desiredOf({
      eips: [eip("e1", 10), eip("e2", 11), eip("e3", 12, { interface: "net2" })],
      snats: [
        snat("a", "e1", "10.0.100.0/24"),
        snat("b", "e1", "10.0.9.0/24"),
        snat("c", "e3", "10.0.9.0/24"),
        snat("d", "e2", "10.0.9.0/24"),
        snat("e", "e1", "0.0.0.0/0"),
        snat("f", "e1", "10.0.9.1/32"),
        snat("g", "e2", "10.0.9.1/32"),
      ],
    });
    const { program, idle } = compile(desired, quiet);
    t.strictSame(
      program.pools.map((pool) => [
        pool.cidr,
        pool.interface,
        pool.members.map((member) => member.id).join(),
      ]),
      [
        ["10.0.9.1/32", "net1", "snats/f"],
        ["10.0.9.0/24", "net1", "snats/b,snats/d"],
        ["10.0.9.0/24", "net2", "snats/c"],
        ["10.0.100.0/24", "net1", "snats/a"],
        ["0.0.0.0/0", "net1", "snats/e"],
      ],
    );
    t.strictSame(
      [...idle],
      [
        [
          "snats/g",
          { reason: "Standby", message: "older SNATs of its CIDR serve all clients; the oldest is snats/f" },
        ],
      ],
    );
    t.end();
  });

  t.test("a /31 has two clients: a third SNAT is on standby", (t) => {
    const desired = desiredOf({
      eips: [eip("e1", 10), eip("e2", 11), eip("e3", 12)],
      snats: ["e1", "e2", "e3"].map((eip) => snat(eip, eip, "10.0.9.0/31")),
    });
    const { program, idle } = compile(desired, quiet);
    t.equal(program.pools[0]?.members.length, 2);
    t.strictSame([...idle.keys()], ["snats/e3"]);
    t.end();
  });

  t.test("without backends there is no rule and no error", (t) => {
    const desired = desiredOf({ eips: [eip("e1", 10)], dnats: [dnat("d1", "e1", 80, { backends: [] })] });
    const { program, blocked, idle } = compile(desired, quiet);
    t.strictSame(program.dnats, []);
    t.equal(blocked.size, 0);
    t.equal(idle.get("dnats/d1")?.reason, "NoBackends");
    t.end();
  });

  t.test("gives a reason for every object outside of the program", (t) => {
    const desired = desiredOf({
      eips: [
        eip("ok", 10),
        eip("twice", 10),
        eip("lapsed", 11),
        eip("claimed", 12),
        eip("refused", 13),
        eip("nowhere", 14, { interface: "net9" }),
      ],
      fips: [
        fip("on-ok", "ok"),
        fip("second", "ok"),
        fip("on-twice", "twice"),
        fip("on-lapsed", "lapsed"),
        fip("on-claimed", "claimed"),
        fip("on-refused", "refused"),
        fip("on-nowhere", "nowhere"),
        fip("on-none", "none"),
      ],
      snats: [snat("bad", "ok"), snat("lapsed", "lapsed")],
      dnats: [dnat("empty", "void", 80, { backends: [] })],
      routes: [route("out", "10.7.0.0/16", { interface: "external" }), route("in", "10.8.0.0/16")],
    });
    const { program, blocked } = compile(desired, {
      ...quiet,
      expiredLeases: new Set(["lapsed"] as ObjectName[]),
      addressConflicts: new Map([["203.0.113.12" as Ip, "02:00:00:00:00:01"]]),
      quarantined: new Map<ObjectId, string>([
        ["eips/refused", "RTNETLINK answers: no"],
        ["snats/bad", "nft: no"],
      ]),
      missingInterfaces: new Set(["net9", "eth0"] as InterfaceName[]),
    });
    const said = Object.fromEntries(
      [...blocked].map(([id, block]) => [id, `${block.isAccepted} ${block.reason}`]),
    );
    t.strictSame(said, {
      "eips/twice": "false Conflict",
      "eips/lapsed": "true LeaseExpired",
      "eips/claimed": "true AddressConflict",
      "eips/refused": "true Quarantined",
      "eips/nowhere": "true InterfaceNotFound",
      "fips/second": "false Conflict",
      "fips/on-twice": "true EipNotReady",
      "fips/on-lapsed": "true LeaseExpired",
      "fips/on-claimed": "true EipNotReady",
      "fips/on-refused": "true EipNotReady",
      "fips/on-nowhere": "true EipNotReady",
      "fips/on-none": "true EipNotFound",
      "snats/bad": "true Quarantined",
      "snats/lapsed": "true LeaseExpired",
      "dnats/empty": "true EipNotFound",
      "routes/in": "true InterfaceNotFound",
    });
    t.strictSame(
      program.fips.map((fip) => fip.id),
      ["fips/on-ok"],
    );
    t.strictSame(
      program.routes.map((route) => route.id),
      ["routes/out"],
    );
    t.match(blocked.get("eips/claimed")?.message, /02:00:00:00:00:01/);
    t.match(blocked.get("fips/on-claimed")?.message, /02:00:00:00:00:01/);
    t.equal(blocked.get("snats/bad")?.message, "nft: no");
    t.end();
  });

  t.test("Limits: what each limits, what it clashes over, what it waits for", (t) => {
    const desired = desiredOf({
      eips: [eip("e1", 10, { interface: "net2" }), eip("e2", 11, { bound: false })],
      limits: [
        limit("a", { eip: "nowhere" }),
        limit("b", { eip: "nowhere", rateMbit: 20 }),
        limit("c", { eip: "e1", direction: "ingress", rateMbit: 2.5, burstMB: 0.3, priority: 7 }),
        limit("d", { interface: "external" }),
        limit("e", { interface: "net1", priority: 1 }),
        limit("f", { interface: "vpc", match: { dst: "0.0.0.0/0" } }),
        limit("g", { interface: "net1", match: { src: "10.0.1.9/24" } }),
        limit("h", { interface: "external", match: { src: "10.0.1.7/24" } }),
        limit("i", { interface: "net1", match: { dst: "10.0.1.0/24" }, rateMbit: 0.001 }),
        limit("j", { eip: "e2" }),
        limit("k", { interface: "net3" }),
      ],
    });
    const context = { ...quiet, missingInterfaces: new Set(["net3" as InterfaceName]) };
    const { program, blocked } = compile(desired, context);
    const egress = { direction: "egress", rate: 1_250_000 };
    const all = { target: { kind: "all" } };
    const network = (side: string) => ({ target: { kind: "network", side, cidr: "10.0.1.0/24" } });
    t.strictSame(program.limits, [
      {
        ...{ id: "limits/c", direction: "ingress", rate: 312_500, burst: 314_573, priority: 7 },
        ...{ interface: "net2", target: { kind: "eip", eip: "203.0.113.10" } },
      },
      { id: "limits/d", ...egress, interface: "net1", ...all },
      { id: "limits/f", ...egress, interface: "eth0", ...all },
      { id: "limits/g", ...egress, interface: "net1", ...network("source") },
      { id: "limits/i", ...egress, rate: 125, interface: "net1", ...network("destination") },
      { id: "limits/j", ...egress, interface: "net1", target: { kind: "eip", eip: "203.0.113.11" } },
    ]);
    const said = Array.from(blocked)
      .filter(([id]) => id.startsWith("limits"))
      .map(([id, { isAccepted, reason }]) => `${id.slice(7)} ${isAccepted} ${reason}`);
    t.strictSame(said, [
      "a true EipNotFound",
      "b false Conflict",
      "e false Conflict",
      "h false Conflict",
      "k true InterfaceNotFound",
    ]);
    t.equal(blocked.get("limits/b")?.message, "egress of eip nowhere is limited by limits/a");
    t.equal(blocked.get("limits/h")?.message, "egress of external from 10.0.1.0/24 is limited by limits/g");
    t.equal(compile(desiredOf({}), quiet).program.limits, undefined);
    t.end();
  });

  t.test("an unbound Eip is not held, and rules name it", (t) => {
    const desired = desiredOf({
      eips: [
        eip("e1", 10, { bound: false, interface: "net2" }),
        eip("e2", 11, { bound: true }),
        eip("e3", 12),
      ],
      fips: [fip("f1", "e1")],
      dnats: [dnat("d1", "e1"), dnat("d2", "e2")],
      snats: [snat("s1", "e1")],
    });
    const { program, blocked } = compile(desired, quiet);
    t.strictSame(
      program.eips.map(({ id }) => id),
      ["eips/e2", "eips/e3"],
    );
    t.strictSame(program.unboundEips, [
      { id: "eips/e1", address: "203.0.113.10", prefixLength: 24, interface: "net2" },
    ]);
    t.strictSame([program.fips.length, program.dnats.length, program.pools.length], [1, 2, 1]);
    t.strictSame(
      [...blocked].map(([id, { isAccepted, reason }]) => [id, isAccepted, reason]),
      [["eips/e1", true, "Unbound"]],
    );
    const address = "203.0.113.10" as Ip;
    const asked = {
      probing: new Set([address]),
      addressConflicts: new Map([[address, "02:00:00:00:00:01"]]),
    };
    t.equal(compile(desired, { ...quiet, ...asked }).program.fips.length, 1, "whoever holds the address");
    const lapsed = compile(desired, { ...quiet, expiredLeases: new Set(["e1"] as ObjectName[]) });
    t.equal(lapsed.blocked.get("fips/f1")?.reason, "LeaseExpired");
    t.strictSame([lapsed.program.fips, lapsed.program.unboundEips], [[], undefined]);
    t.end();
  });

  t.test("a DNAT beside a FIP is programmed but gets no packets", (t) => {
    const desired = desiredOf(
      { eips: [eip("e1", 10), eip("e2", 11)], dnats: [dnat("older", "e1")] },
      {
        eips: [eip("e1", 10), eip("e2", 11)],
        fips: [fip("f", "e1"), fip("g", "e2", "10.0.1.6")],
        dnats: [
          dnat("older", "e1"),
          dnat("newer", "e1", 81),
          dnat("empty", "e1", 82, { backends: [] }),
          dnat("alone", "e2"),
        ],
      },
    );
    const context = { ...quiet, quarantined: new Map<ObjectId, string>([["fips/g", "no"]]) };
    const { program, blocked, idle, shadowed } = compile(desired, context);
    t.strictSame(
      [...shadowed],
      [
        ["dnats/older", "fips/f"],
        ["dnats/newer", "fips/f"],
        ["dnats/empty", "fips/f"],
      ],
    );
    t.strictSame(
      program.dnats.map(({ id }) => id),
      ["dnats/older", "dnats/newer", "dnats/alone"],
      "a FIP that is not programmed takes nothing",
    );
    t.strictSame([[...blocked.keys()], [...idle.keys()]], [["fips/g"], ["dnats/empty"]]);
    t.end();
  });

  t.test("the oldest programmed FIP is used for outgoing traffic", (t) => {
    const desired = desiredOf({
      eips: [eip("e1", 10), eip("e2", 11)],
      fips: [fip("f1", "e1"), fip("f2", "e2")],
    });
    const context = { ...quiet, quarantined: new Map<ObjectId, string>([["fips/f1", "no"]]) };
    t.strictSame(compile(desired, context).program.fips, [
      { id: "fips/f2", eip: "203.0.113.11", internalIp: "10.0.1.5", isOutward: true },
    ]);
    t.end();
  });
  t.end();
});
