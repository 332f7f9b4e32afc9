/** Whether packets get from one side to the other: by links, routes and policy routing rules. */
import t from "tap";
import { ipv4, parseCidr, parseIp } from "../../../../../lib/model/ipv4.ts";
import { parseInterfaceName } from "../../../../../lib/model/names.ts";
import type {
  ObservedLink,
  ObservedNetwork,
  ObservedPaths,
  ObservedRoute,
  PolicyRule,
  SysctlKey,
} from "../../../../../lib/model/observed.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import { mainTable, routeProtocol } from "../../../../../lib/plan/network/routes.ts";
import type { KernelFacts, PlanInput } from "../../../../../lib/plan/plan-input.ts";
import {
  isSilentNow,
  nextHopsOf,
  type SilentHop,
  watchedHopsOf,
} from "../../../../../lib/plan/reach/next-hops.ts";
import { createReachPlanner } from "../../../../../lib/plan/reach/planner.ts";
import { noObstacles, type Obstacle } from "../../../../../lib/plan/subsystem.ts";

/** It uses only its own reading. */
const noFacts = {} as KernelFacts;

const must = <T>(value: T | undefined): T => {
  if (value === undefined) throw new TypeError("a sample is not what it should be");
  return value;
};
const ip = (text: string) => must(parseIp(text));
const cidr = (text: string) => must(parseCidr(text));
const nic = (text: string) => must(parseInterfaceName(text));

/** `"10.0.1.0/24 dev eth0"`, `"blackhole 10.0.1.5"`, `"10.2.0.0/16 via eth0,eth0 metric 5"`. */
function route(text: string, table = mainTable): ObservedRoute {
  const [, kind = "unicast", destination = "", via, devices, metric = "0", protocol = "3"] = must(
    /^(?:(blackhole|throw|local) )?(\S+)(?: via (\S+))?(?: dev (\S+))?(?: metric (\d+))?(?: proto (\d+))?$/.exec(
      text,
    ) ?? undefined,
  );
  const names = devices?.split(",").map(nic);
  return {
    table,
    type: kind as ObservedRoute["type"],
    destination: cidr(destination === "default" ? "0.0.0.0/0" : destination),
    via: via === undefined ? undefined : ip(via),
    interface: names?.length === 1 ? names[0] : undefined,
    ...(names !== undefined && names.length > 1 && { hops: names }),
    protocol: Number(protocol),
    metric: Number(metric),
    isOnlink: false,
  };
}

const bare = { source: undefined, destination: undefined, inInterface: undefined, outInterface: undefined };
function rule(priority: number, more: Partial<PolicyRule>): PolicyRule {
  const action = { kind: "lookup", table: 100 } as const;
  return { priority, action, ...bare, isInverted: false, hasMore: false, text: `rule ${priority}`, ...more };
}
const standard = [
  rule(0, { action: { kind: "lookup", table: 255 } }),
  rule(32_766, { action: { kind: "lookup", table: 254 } }),
  rule(32_767, { action: { kind: "lookup", table: 253 } }),
];

const links: readonly ObservedLink[] = ["lo", "eth0", "net1"].map((name, at) => ({
  index: at + 1,
  name: nic(name),
  mac: "",
  isUp: true,
  hasCarrier: true,
}));
const usual = ["10.0.1.0/24 dev eth0 proto 2", "203.0.113.0/24 dev net1 proto 2", "default dev net1"];

interface World {
  readonly usual?: readonly string[];
  readonly sysctls?: readonly (readonly [SysctlKey, number])[];
  readonly routes?: readonly string[];
  readonly links?: readonly ObservedLink[];
  readonly rules?: readonly PolicyRule[];
  readonly table100?: readonly string[];
  /** Routes that people added to the local table. */
  readonly local?: readonly string[];
  /** Instead of {@link standard}. */
  readonly standard?: readonly PolicyRule[];
  /** Additional addresses: `["eth0", "203.0.113.2"]`, by default with the prefix length 24. */
  readonly addresses?: readonly (readonly [name: string, address: string, prefixLength?: number])[];
  /** Instead of that of {@link program}. */
  readonly internalIp?: string;
}

const program: Program = {
  family: ipv4,
  vpcInterface: nic("eth0"),
  externalInterface: nic("net1"),
  defaultGateway: ip("203.0.113.1"),
  eips: [
    { id: "eips/a", address: ip("203.0.113.10"), prefixLength: 24, interface: nic("net1") },
    { id: "eips/b", address: ip("203.0.113.11"), prefixLength: 24, interface: nic("net1") },
  ],
  fips: [{ id: "fips/f", eip: ip("203.0.113.10"), internalIp: ip("10.0.1.5"), isOutward: true }],
  dnats: [
    {
      id: "dnats/d",
      eip: ip("203.0.113.11"),
      protocol: "tcp",
      externalPort: 80,
      backends: [
        { ip: ip("10.0.1.6"), port: 80 },
        { ip: ip("10.0.2.6"), port: 80 },
      ],
    },
  ],
  pools: [
    {
      cidr: cidr("10.0.0.0/16"),
      interface: nic("net1"),
      members: [{ id: "snats/s", eip: ip("203.0.113.11"), mapping: "random" }],
    },
  ],
  routes: [],
};

function judge(world: World) {
  const { routes = [], rules = [], table100 = [], links: given = links, sysctls = [] } = world;
  const address = (name: string, text: string, prefixLength = 24) => ({
    interface: nic(name),
    address: ip(text),
    prefixLength,
    isSecondary: false,
    label: "",
  });
  const network: ObservedNetwork = {
    links: given,
    addresses: [
      address("eth0", "10.0.1.254"),
      address("net1", "203.0.113.10"),
      address("net1", "203.0.113.11"),
      ...(world.addresses ?? []).map((one) => address(...one)),
    ],
    routes: [...(world.usual ?? usual), ...routes].map((text) => route(text)),
    sysctls: new Map(sysctls),
  };
  const paths: ObservedPaths = {
    rules: [...(world.standard ?? standard), ...rules].toSorted(
      (one, other) => one.priority - other.priority,
    ),
    tables: new Map([
      [100, table100.map((text) => route(text, 100))],
      [255, (world.local ?? []).map((text) => route(text, 255))],
    ]),
  };
  const planner = createReachPlanner();
  const { internalIp } = world;
  const judged =
    internalIp === undefined
      ? program
      : { ...program, fips: program.fips.map((fip) => ({ ...fip, internalIp: ip(internalIp) })) };
  const found = planner.plan({ program: judged } as PlanInput, { network, paths, silentHops: [] });
  const part = planner.obstaclesTo?.(judged, { network, paths, silentHops: [] }, noFacts);
  const obstacles = found.obstacles();
  t.strictSame(part, obstacles, "a part of the program is judged alike");
  t.strictSame(found.steps, [], "it changes nothing");
  const words = (all: ReadonlyMap<string, Obstacle>) =>
    [...all].map(([id, { reason, message }]) => `${id} ${reason}: ${message}`);
  return {
    objects: words(obstacles.objects),
    kinds: words(obstacles.kinds),
    notices: found.notices.map(({ reason, message }) => `${reason}: ${message}`),
    isClear: obstacles === noObstacles,
  };
}

const behind = ["10.0.2.0/24 dev eth0"];
const noRoute = (id: string, what: string, why: string) =>
  `${id} NoRoute: ${what} is not reached through eth0: ${why}`;

t.test("an internal IP must be reached through the VPC's interface", async (t) => {
  t.ok(judge({ routes: behind }).isClear, "all are");
  const byDefault = "the kernel uses the route default dev net1 proto 3";
  t.strictSame(judge({}).objects, [noRoute("dnats/d", "10.0.2.6", byDefault)], "each backend counts");
  const cases: readonly (readonly [what: string, routes: readonly string[], objects: readonly string[]])[] = [
    [
      "the longest prefix",
      ["10.0.1.5/32 dev net1"],
      [noRoute("fips/f", "10.0.1.5", "the kernel uses the route 10.0.1.5/32 dev net1 proto 3")],
    ],
    [
      "a route that drops",
      ["blackhole 10.0.1.5/32"],
      [noRoute("fips/f", "10.0.1.5", "the kernel uses the route blackhole 10.0.1.5/32 proto 3")],
    ],
    ["the lowest metric", ["10.0.1.5/32 dev net1 metric 5", "10.0.1.5/32 dev eth0 metric 4"], []],
    ["a worse route that drops", ["blackhole 10.0.1.5/32 metric 9", "10.0.1.5/32 dev eth0 metric 4"], []],
    ["next hops on one side", ["10.0.1.5/32 dev eth0,eth0"], []],
    [
      "next hops on both sides",
      ["10.0.1.5/32 dev eth0,net1"],
      [
        noRoute(
          "fips/f",
          "10.0.1.5",
          "the kernel uses the route 10.0.1.5/32 nexthop dev eth0 nexthop dev net1 proto 3",
        ),
      ],
    ],
    [
      "a route of the gateway's own",
      ["local 10.0.1.5/32 dev net1"],
      [noRoute("fips/f", "10.0.1.5", "it is the gateway's own address")],
    ],
  ];
  for (const [what, routes, objects] of cases)
    t.strictSame(judge({ routes: [...behind, ...routes] }).objects, objects, what);
});

t.test(
  "a route for one of the gateway's own addresses is no conflict: the local table comes first",
  async (t) => {
    t.same(judge({ routes: [...behind, "blackhole 203.0.113.10/32"] }).notices, []);
    t.match(judge({ routes: [...behind, "blackhole 203.0.113.99/32"] }).notices, [/^RouteConflict/]);
  },
);

t.test("a route that another one to the same destination precedes is no conflict", async (t) => {
  const worse = "blackhole 10.0.1.5/32 metric 9";
  t.match(judge({ routes: [...behind, worse] }).notices, [/^RouteConflict: .* blackhole 10\.0\.1\.5\/32/]);
  t.same(judge({ routes: [...behind, worse, "10.0.1.5/32 dev eth0 metric 4"] }).notices, []);
});

t.test("some of an SNAT's clients must be reachable", async (t) => {
  const clients = (text: string) => ({
    ...program,
    fips: [],
    dnats: [],
    pools: program.pools.map((pool) => ({ ...pool, cidr: cidr(text) })),
  });
  const planner = createReachPlanner();
  const isReached = (text: string, ...routes: readonly string[]) => {
    const network = {
      links,
      addresses: [],
      routes: [...usual, ...routes].map((one) => route(one)),
      sysctls: new Map(),
    };
    const paths = { rules: standard, tables: new Map() };
    return planner.obstaclesTo?.(clients(text), { network, paths, silentHops: [] }, noFacts) === noObstacles;
  };
  t.ok(isReached("10.0.1.0/24"), "the VPC's subnet");
  t.ok(isReached("10.0.1.5/32"), "a part of it");
  t.ok(isReached("10.0.0.0/8"), "more than it");
  t.ok(isReached("0.0.0.0/0"), "everything");
  t.notOk(isReached("10.2.0.0/16"), "none of it");
  t.ok(isReached("10.2.0.0/16", "10.2.7.0/24 dev eth0"), "a part by a route");
  t.notOk(isReached("10.2.0.0/16", "10.2.7.0/24 dev net1"));
});

t.test(
  "without the VPC's interface nothing is translated, without the outside one no Eip is held",
  async (t) => {
    const without = (name: string) => links.filter((link) => link.name !== name);
    const withLink = (name: string, more: Partial<ObservedLink>) =>
      links.map((link) => (link.name === name ? { ...link, ...more } : link));
    const all = (message: string) => ["fip", "snat", "dnat"].map((kind) => `${kind} ${message}`);
    const cases = [
      ["eth0", { isUp: false }, "eth0 is down"],
      ["eth0", { hasCarrier: false }, "eth0 has no carrier"],
      ["eth0", { masterIndex: 1 }, "eth0 is a port of lo, which receives its packets"],
    ] as const;
    for (const [name, more, message] of cases) {
      const found = judge({ links: withLink(name, more) });
      t.strictSame(found.kinds, all(`InterfaceDown: ${message}`));
      t.strictSame(found.objects, [], "its routes are not what is told");
      t.strictSame(found.notices, [`InterfaceDown: ${message}`]);
    }
    const [, eth0] = links;
    const taken = { ...must(eth0), index: 9, name: nic("mv0"), takesFrom: must(eth0).index };
    t.strictSame(judge({ links: [...links, taken] }).notices, [
      "InterfaceDown: eth0 gives its packets to mv0",
    ]);
    t.strictSame(judge({ links: withLink("net1", { mtu: 575 }), routes: behind }).notices, [
      "MtuTooSmall: net1 has MTU 575: larger packets of connections do not pass",
    ]);
    t.strictSame(judge({ links: withLink("net1", { mtu: 576 }), routes: behind }).notices, []);
    const deaf = judge({ links: withLink("net1", { isNoArp: true }), routes: behind });
    t.strictSame(deaf.objects, [], "a tunnel needs no ARP");
    t.match(deaf.notices, [/^ArpIgnored: ARP is off on net1/]);
    const gone = judge({ links: without("eth0") });
    t.strictSame(gone.kinds, all("InterfaceNotFound: interface eth0 does not exist"));
    t.strictSame(gone.notices, ["InterfaceMissing: interface eth0 does not exist"]);
    const outside = judge({ links: withLink("net1", { hasCarrier: false }), routes: behind });
    t.strictSame(
      outside.objects,
      ["eips/a", "eips/b"].map((id) => `${id} InterfaceDown: net1 has no carrier`),
    );
    t.strictSame(outside.notices, ["InterfaceDown: net1 has no carrier"]);
  },
);

t.test("rules of policy routing", async (t) => {
  const world = { routes: behind };
  t.ok(
    judge({ ...world, rules: [rule(100, { outInterface: "net1" }), rule(101, { inInterface: "lo" })] })
      .isClear,
    "not of what is forwarded",
  );
  const blackhole = { action: { kind: "blackhole" } } as const;
  const byRule = (id: string, what: string, number: number) =>
    `${id} NoRoute: ${what} does not leave by net1: no route leads there, by the rule rule ${number}`;
  t.strictSame(
    judge({ ...world, rules: [rule(100, { ...blackhole, source: cidr("10.0.1.5/32") })] }).objects,
    [byRule("fips/f", "10.0.1.5", 100)],
    "a client that is dropped",
  );
  const partly = judge({ ...world, rules: [rule(100, { ...blackhole, source: cidr("10.0.3.0/24") })] });
  t.strictSame(partly.objects, [], "some clients of an SNAT");
  t.strictSame(partly.notices, ["RouteConflict: may send packets the wrong way: ip rule: rule 100"]);
  t.strictSame(
    judge({ ...world, rules: [rule(100, { inInterface: "net1" })], table100: ["10.0.1.0/25 dev net1"] })
      .objects,
    [
      noRoute(
        "fips/f",
        "10.0.1.5",
        "the kernel uses the route 10.0.1.0/25 dev net1 table 100 proto 3, by the rule rule 100",
      ),
      noRoute(
        "dnats/d",
        "10.0.1.6",
        "the kernel uses the route 10.0.1.0/25 dev net1 table 100 proto 3, by the rule rule 100",
      ),
    ],
    "another table, which knows some",
  );
  const everyone = { rules: [rule(100, { ...blackhole, inInterface: nic("net1") })] };
  t.strictSame(
    judge({ ...world, ...everyone }).objects.length,
    3,
    "what comes from outside, an SNAT's replies too",
  );
  t.ok(
    judge({ ...world, rules: [rule(100, { inInterface: "net1" })], table100: ["throw 10.0.1.0/24"] }).isClear,
    "a table that gives back",
  );
  t.ok(
    judge({ ...world, rules: [rule(100, {})], table100: ["default dev net1", "10.0.0.0/8 dev eth0"] })
      .isClear,
    "a table that leads alike",
  );
  const marked = judge({ ...world, rules: [rule(100, { ...blackhole, hasMore: true })] });
  t.strictSame(marked.objects, [], "a mark that nobody knows of");
  t.strictSame(marked.notices, ["RouteConflict: may send packets the wrong way: ip rule: rule 100"]);
  t.strictSame(
    judge({ ...world, rules: [rule(100, { ...blackhole, isInverted: true, inInterface: "net1" })] }).objects
      .length,
    3,
    "all that does not come in by net1",
  );
  const jump = rule(100, { action: { kind: "goto", priority: 200 } });
  t.ok(judge({ ...world, rules: [jump, rule(150, blackhole)] }).isClear, "a rule that is jumped over");
  t.notOk(judge({ ...world, rules: [jump, rule(200, blackhole)] }).isClear, "and one that is not");
});

t.test("a rule that suppresses short prefixes", async (t) => {
  const main = rule(100, { action: { kind: "lookup", table: 254 }, suppressedPrefix: 0 });
  const world = { routes: behind, rules: [main, rule(101, {})] };
  t.match(
    judge({ ...world, table100: ["default dev net1"] }),
    { objects: [], notices: [] },
    "the other table is for what main has no longer prefix for",
  );
  t.match(judge({ ...world, table100: ["blackhole default"] }).objects, [
    /^fips\/f NoRoute: 10\.0\.1\.5 does not leave by net1: .* blackhole default/,
    /^dnats\/d NoRoute: 10\.0\.1\.6 does not/,
    /^snats\/s NoRoute: /,
  ]);
  const refusing = rule(100, { suppressedPrefix: 32 });
  t.match(
    judge({ routes: behind, rules: [refusing], table100: ["blackhole 10.0.1.5/32"] }).objects,
    [/^fips\/f NoRoute: 10\.0\.1\.5 is not reached/],
    "what refuses packets is no longer prefix",
  );
});

t.test("routers of other tables", async (t) => {
  const network = {
    links,
    addresses: [],
    routes: [...usual, ...behind].map((one) => route(one)),
    sysctls: new Map(),
  };
  const table = [{ ...route("10.0.1.5/32 dev eth0", 100), via: ip("10.0.1.99") }];
  const away = [{ ...route("default dev net1", 101), via: ip("203.0.113.99") }];
  const paths = {
    rules: [rule(100, { inInterface: "net1" }), rule(101, fromPod), ...standard],
    tables: new Map([
      [100, table],
      [101, away],
    ]),
  };
  const hops = watchedHopsOf(network, paths);
  t.same(
    hops.map(({ via }) => via),
    ["10.0.1.99", "203.0.113.99"],
  );
  const notices = (silentHops: typeof hops) =>
    createReachPlanner()
      .plan({ program } as PlanInput, { network, paths, silentHops })
      .notices.map(({ message }) => message);
  t.same(notices([]), []);
  t.same(notices(hops.slice(0, 1)), ["10.0.1.99 does not answer ARP on eth0: fips/f behind it"]);
  t.same(notices(hops.slice(1)), ["203.0.113.99 does not answer ARP on net1: fips/f behind it"]);
});

const fromPod = {
  source: cidr("10.0.1.5/32"),
  inInterface: "eth0",
  action: { kind: "lookup", table: 101 },
} as const;

t.test("an EIP is the gateway's own address only by the local table", async (t) => {
  const late = [rule(10, { inInterface: "net1" }), rule(200, { action: { kind: "lookup", table: 255 } })];
  const world = { standard: [...late, ...standard.slice(1)], routes: behind };
  t.match(judge({ ...world, table100: ["203.0.113.10/32 dev eth0"] }).objects, [
    /^eips\/a NoRoute: the kernel answers no ARP for 203\.0\.113\.10: the kernel uses the route .* rule 10$/,
  ]);
  t.same(judge({ ...world, table100: ["203.0.113.99/32 dev eth0"] }).objects, []);
  t.same(judge({ ...world, table100: ["local 203.0.113.10/32 dev lo"] }).objects, []);
});

t.test("nobody has the broadcast address of a subnet", async (t) => {
  const of = (internalIp: string, ...addresses: NonNullable<World["addresses"]>) =>
    judge({ routes: behind, internalIp, addresses }).objects;
  t.same(of("10.0.1.255"), [
    noRoute("fips/f", "10.0.1.255", "it is the broadcast address of 10.0.1.0/24 on eth0"),
  ]);
  t.same(of("10.0.2.255"), [], "of a subnet that the gateway is not in");
  t.same(
    of("10.0.2.255", ["eth0", "10.0.2.254", 31], ["eth0", "10.0.2.255", 32]).length,
    1,
    "its own address",
  );
  t.same(of("10.0.2.255", ["eth0", "10.0.2.254", 31]), [], "two hosts have none");
  t.same(of("10.0.1.5", ["net1", "203.0.113.9", 30]), [
    "eips/b NoRoute: the kernel answers no ARP for 203.0.113.11: it is the broadcast address of 203.0.113.8/30 on net1",
  ]);
});

t.test("routes that take external traffic elsewhere are named", async (t) => {
  const conflict = (text: string) => [`RouteConflict: may send packets the wrong way: ip route: ${text}`];
  const notices = (...routes: readonly string[]) => judge({ routes: [...behind, ...routes] }).notices;
  t.strictSame(notices("203.0.113.1/32 dev eth0"), conflict("203.0.113.1/32 dev eth0 proto 3"));
  t.strictSame(notices("blackhole 203.0.113.0/25"), conflict("blackhole 203.0.113.0/25 proto 3"));
  t.strictSame(notices("0.0.0.0/1 dev eth0"), conflict("0.0.0.0/1 dev eth0 proto 3"));
  t.strictSame(notices("0.0.0.0/1 dev eth0", "128.0.0.0/1 dev eth0"), [
    "RouteConflict: may send packets the wrong way: ip route: 0.0.0.0/1 dev eth0 proto 3, and 1 more",
  ]);
  t.strictSame(
    notices("10.0.1.77/32 dev net1"),
    conflict("10.0.1.77/32 dev net1 proto 3"),
    "in the VPC's subnet",
  );
  t.strictSame(notices("10.0.1.77/32 dev eth0,net1").length, 1, "one of several next hops");
  t.strictSame(notices("203.0.113.1/32 dev net1", "10.0.0.0/8 dev eth0", "198.51.100.0/24 dev eth0"), []);
});

t.test("the local table and the rules that every system has", async (t) => {
  const world = { routes: behind };
  const refused = "the kernel uses the route blackhole 10.0.1.5/32 table 255 proto 3";
  t.strictSame(judge({ ...world, local: ["blackhole 10.0.1.5/32"] }).objects, [
    noRoute("fips/f", "10.0.1.5", refused),
  ]);
  t.strictSame(judge({ ...world, local: ["local 10.0.1.5/32 dev lo"] }).objects, [
    noRoute("fips/f", "10.0.1.5", "it is the gateway's own address"),
  ]);
  t.ok(
    judge({ ...world, local: ["throw 10.0.1.5/32", "local 192.0.2.1/32 dev lo", "blackhole 10.0.0.0/8"] })
      .isClear,
    "no route, another address, and a shorter prefix, which the kernel may ignore",
  );
  for (const route of ["blackhole default", "local 0.0.0.0/1 dev lo"]) {
    const hidden = judge({ ...world, local: [route] });
    t.strictSame(hidden.objects, [], "connected networks are still reached");
    t.match(hidden.notices, [/^RouteConflict: may send packets the wrong way: ip route: .* table 255/]);
  }
  const hidden = judge({ ...world, local: ["blackhole 203.0.113.10/32", "local 203.0.113.11/32 dev lo"] });
  t.strictSame(hidden.objects, [
    "eips/a NoRoute: the kernel answers no ARP for 203.0.113.10, because of the route blackhole 203.0.113.10/32 table 255 proto 3",
  ]);
  t.match(hidden.notices, [/^RouteConflict: .* blackhole 203\.0\.113\.10\/32/]);
  const own = judge({ ...world, local: ["throw 10.0.1.254/32"] });
  t.match([own.objects, own.notices], [[], [/^RouteConflict: .* throw 10\.0\.1\.254\/32/]]);
  const [useLocal, useMain, useDefault] = standard.map((one) => [one]);
  const leaves = (id: string, what: string) =>
    `${id} NoRoute: ${what} does not leave by net1: no route leads there`;
  const noMain = judge({ ...world, standard: [...must(useLocal), ...must(useDefault)] });
  t.strictSame(noMain.objects, [
    noRoute("fips/f", "10.0.1.5", "no route leads there"),
    noRoute("dnats/d", "10.0.1.6", "no route leads there"),
    leaves("snats/s", "10.0.0.0/16"),
  ]);
  t.strictSame(
    judge({ ...world, rules: [rule(100, { action: { kind: "goto", priority: 32_767 } })] }).objects,
    noMain.objects,
    "a rule that jumps over it does the same",
  );
  const noLocal = judge({ ...world, standard: [...must(useMain), ...must(useDefault)] });
  t.strictSame(
    noLocal.objects,
    ["eips/a", "eips/b"].map((id) => `${id} NoRoute: no policy routing rule uses the table local`),
  );
  const late = rule(100, { action: { kind: "lookup", table: 255 } });
  t.ok(
    judge({ ...world, standard: [late, ...must(useMain), ...must(useDefault)] }).isClear,
    "it comes later",
  );
  const part = { ...rule(32_766, { action: { kind: "lookup", table: mainTable } }), hasMore: true };
  const partly = judge({ ...world, standard: [...must(useLocal), part] });
  t.strictSame(partly.objects, [], "some packets pass");
  t.strictSame(partly.notices, ["RouteConflict: may send packets the wrong way: ip rule: rule 32766"]);
});

t.test("the next hop and its neighbours are reached directly", async (t) => {
  const byRouter = usual.with(2, "default via 203.0.113.1 dev net1");
  const notices = (world: World) => judge({ usual: byRouter, routes: behind, ...world }).notices;
  const hidden = (why: string) => [
    `RouteConflict: may send packets the wrong way: 203.0.113.1 is not reached through net1: ${why}`,
  ];
  t.strictSame(notices({}), []);
  t.strictSame(notices({ addresses: [["lo", "203.0.113.1"]] }), hidden("it is the gateway's own address"));
  t.strictSame(
    notices({ routes: [...behind, "203.0.113.0/29 dev eth0 proto 2"] }),
    hidden("the kernel uses the route 203.0.113.0/29 dev eth0 proto 2"),
    "an address on another interface",
  );
  t.strictSame(
    notices({ usual: byRouter.with(1, "203.0.113.0/24 dev eth0") }),
    hidden("the kernel uses the route 203.0.113.0/24 dev eth0 proto 3"),
    "instead of the subnet's own route",
  );
  t.strictSame(
    notices({ routes: [...behind, "203.0.113.1/32 via 203.0.113.99 dev net1"] }),
    hidden("the kernel uses the route 203.0.113.1/32 via 203.0.113.99 dev net1 proto 3"),
  );
  t.strictSame(notices({ local: ["blackhole 203.0.113.1/32"] }).length, 1);
  t.strictSame(
    notices({ routes: [...behind, "203.0.113.1/32 dev eth0"] }),
    ["RouteConflict: may send packets the wrong way: ip route: 203.0.113.1/32 dev eth0 proto 3"],
    "it is named once",
  );
  const far = usual.with(2, "default via 192.0.2.1 dev net1");
  t.strictSame(notices({ usual: far }), [], "a router outside of the subnet, which the default route covers");
  t.strictSame(notices({ usual: far, routes: [...behind, "192.0.2.0/24 dev eth0"] }), []);
});

t.test("a strict reverse path filter with another route back", async (t) => {
  const notices = (sysctls: readonly (readonly [SysctlKey, number])[], ...routes: readonly string[]) =>
    judge({ routes: [...behind, ...routes], sysctls }).notices;
  const strict = [["net.ipv4.conf.net1.rp_filter", 1]] as const;
  const filtered = [
    "ReversePathFilter: rp_filter=1 on net1 drops packets from addresses that are routed by another interface",
  ];
  t.strictSame(notices(strict), []);
  const asides = { usual: usual.with(2, "default dev eth0"), routes: behind };
  t.strictSame(judge({ ...asides, sysctls: strict }).notices, filtered);
  t.strictSame(judge({ ...asides, sysctls: [["net.ipv4.conf.all.rp_filter", 1]] }).notices, filtered);
  t.strictSame(
    judge({ ...asides, sysctls: [["net.ipv4.conf.net1.rp_filter", 2], ...strict.slice(1)] }).notices,
    [],
    "loose",
  );
  t.strictSame(
    judge({ usual: usual.slice(0, 2), routes: behind, sysctls: strict }).notices,
    [],
    "no default route",
  );
});

t.test("next hops", async (t) => {
  const via = (text: string, router: string, protocol = 3): ObservedRoute => ({
    ...route(text),
    via: ip(router),
    protocol,
  });
  const network: ObservedNetwork = {
    links,
    addresses: [],
    routes: [
      via("default dev net1", "203.0.113.1"),
      via("10.1.0.0/16 dev eth0", "10.0.1.1", routeProtocol),
      via("10.2.0.0/16 dev eth0", "10.0.1.1", routeProtocol),
      via("10.3.0.0/16 dev eth0", "10.0.1.2"),
      via("default dev net9 metric 5", "192.0.2.1"),
      ...usual.map((text) => route(text)),
    ],
    sysctls: new Map(),
  };
  const hops = nextHopsOf(network);
  t.same(
    hops.map(({ via: router, interface: name, index }) => `${router} ${name} ${index}`),
    ["203.0.113.1 net1 3", "10.0.1.1 eth0 2"],
    "of the default route and the agent's own, once each, by links that are there",
  );
  const down = links.map((link) => ({ ...link, hasCarrier: link.name !== "net1" }));
  t.same(nextHopsOf({ ...network, links: down }).length, 1, "a link without carrier is told by itself");
  const paths = { rules: standard, tables: new Map() };
  const notices = (silentHops: readonly SilentHop[]) =>
    createReachPlanner()
      .plan({ program } as PlanInput, { network, paths, silentHops })
      .notices.filter(({ reason }) => reason === "NextHopUnreachable")
      .map(({ message }) => message);
  t.same(notices([]), []);
  t.match(notices(hops.slice(1)), [
    /^10\.0\.1\.1 does not answer ARP on eth0: 10\.1\.0\.0\/16 via 10\.0\.1\.1 dev eth0 .* and 1 more cannot be used$/,
  ]);
  const [router] = hops;
  const fixed = { ...must(router), fixedMac: "02:de:ad:00:00:01", answeredBy: "02:00:00:00:00:01" };
  t.match(notices([fixed]), [
    /^203\.0\.113\.1 answers ARP on net1 with 02:00:00:00:00:01, but its neighbour entry is fixed to 02:de:ad:00:00:01: default /,
  ]);
  t.ok(isSilentNow("failed", false));
  t.notOk(isSilentNow("known", true));
  t.ok(isSilentNow("unknown", true), "what was known stands");
});

t.test("objects behind a router or a host that packets do not reach", async (t) => {
  const via = (text: string, router: string) => ({ ...route(text), via: ip(router), protocol: 3 });
  const kernel = usual.map((text) => route(text));
  const behind = (routes: readonly ObservedRoute[], ...silent: readonly string[]) => {
    const network = { links, addresses: [], routes, sysctls: new Map() };
    const silentHops = silent.map((text) => {
      const [address = "", fixedMac] = text.split(" ");
      const hop = { via: ip(address), interface: nic("eth0"), index: 2 };
      return fixedMac === undefined ? hop : { ...hop, fixedMac, answeredBy: "02:00:00:00:00:05" };
    });
    const input = { program } as PlanInput;
    const paths = { rules: standard, tables: new Map() };
    const found = createReachPlanner().plan(input, { network, paths, silentHops });
    const notReady = [...found.obstacles().objects].map(([id, { message }]) => `${id}: ${message}`);
    return [...notReady, ...found.notices.map(({ reason, message }) => `${reason}: ${message}`)];
  };
  const routed = [
    ...kernel,
    via("10.0.1.5/32 dev eth0", "10.0.1.99"),
    via("10.0.2.0/24 dev eth0", "10.0.1.98"),
    via("10.0.3.0/24 dev eth0", "10.0.1.97"),
  ];
  t.same(behind(routed), []);
  t.same(behind(routed, "10.0.1.97"), [], "nobody's router");
  t.same(behind(routed, "10.0.1.99", "10.0.1.98"), [
    "NextHopUnreachable: 10.0.1.99 does not answer ARP on eth0: fips/f behind it; 10.0.1.98 does not answer ARP on eth0: dnats/d behind it",
  ]);
  const [one, other] = [ip("10.0.1.99"), ip("10.0.1.98")];
  const several = [
    ...kernel,
    route("10.0.2.0/24 dev eth0"),
    { ...route("10.0.1.5/32 dev eth0,eth0"), hopVias: [one, other] },
  ];
  t.same(
    behind(several, one),
    ["NextHopUnreachable: 10.0.1.99 does not answer ARP on eth0: fips/f behind it"],
    "some flows take the other router",
  );
  t.same(
    behind(several, "10.0.1.99 02:de:ad:00:00:01").map((line) => line.replace(/:.*/, "")),
    ["NextHopUnreachable"],
    "even if its MAC is wrong",
  );
  t.same(behind(several, one, other), [
    "NextHopUnreachable: 10.0.1.99 does not answer ARP on eth0: fips/f behind it",
  ]);
  const network = { links, addresses: [], routes: several, sysctls: new Map() };
  t.same(
    watchedHopsOf(network, { rules: standard, tables: new Map() }).map((hop) => hop.via),
    [one, other],
  );
  const whole = [...kernel.slice(1), via("10.0.0.0/16 dev eth0", "10.0.1.1")];
  t.match(behind(whole, "10.0.1.1"), [/: fips\/f and 2 more behind it$/]);
  t.match(
    behind([...whole, route(usual[0] ?? "")], "10.0.1.1"),
    [/: dnats\/d behind it$/],
    "some of the SNAT's clients are elsewhere",
  );
  const own = routed.map((one) => (one.via === undefined ? one : { ...one, protocol: routeProtocol }));
  const found = createReachPlanner().plan({ program } as PlanInput, {
    network: { links, addresses: [], routes: own, sysctls: new Map() },
    paths: { rules: standard, tables: new Map() },
    silentHops: [{ via: ip("10.0.1.99"), interface: nic("eth0"), index: 2 }],
  });
  t.same([...found.obstacles().objects], [], "a Route's router is reported for the gateway");
  t.match(found.notices, [{ reason: "NextHopUnreachable" }]);
  const inOrder = [...kernel, route("10.0.2.0/24 dev eth0")];
  t.same(behind(inOrder, "10.0.1.5 02:de:ad:00:00:01", "10.0.1.7 02:de:ad:00:00:01"), [
    "fips/f: 10.0.1.5 is not reached through eth0: 10.0.1.5 answers ARP on eth0 with 02:00:00:00:00:05, but its neighbour entry is fixed to 02:de:ad:00:00:01",
  ]);
});

t.test("routers of other programs' routes are watched, up to a number", async (t) => {
  const many = Array.from({ length: 40 }, (_, at) => ({
    ...route(`10.1.${at}.0/24 dev eth0`),
    via: ip(`10.0.1.${at + 100}`),
  }));
  const routes = [...many, { ...route("default dev net1"), via: ip("203.0.113.1") }];
  const network = { links, addresses: [], routes, sysctls: new Map() };
  const hops = watchedHopsOf(network, { rules: standard, tables: new Map() });
  t.same(
    hops.map((hop) => hop.via),
    ["203.0.113.1", ...many.slice(0, 16).map((one) => one.via)],
  );
});
