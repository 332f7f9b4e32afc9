/** The small parts of the reconciler: the loop, backing off, isolating culprits, asking the wire, ending flows. */
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import type { Announcer, ConntrackDriver, Dataplane } from "../../../../agent/kernel/drivers.ts";
import { ArpProbe } from "../../../../agent/reconciler/eips/arp-probe.ts";
import { strikeOff, writeAhead } from "../../../../agent/reconciler/eips/ledger.ts";
import { IncrementalPass } from "../../../../agent/reconciler/incremental/incremental-pass.ts";
import { type PassOutcome, type PassRequest, ReconcileLoop } from "../../../../agent/reconciler/loop.ts";
import { Mutex } from "../../../../agent/reconciler/mutex.ts";
import {
  type Circumstances,
  createLookAhead,
  type Outlook,
} from "../../../../agent/reconciler/pass/outlook.ts";
import type { PassDeps, PassResult } from "../../../../agent/reconciler/pass/pass-result.ts";
import type { PassReport } from "../../../../agent/reconciler/pass/report.ts";
import { Backoff } from "../../../../agent/reconciler/retry/backoff.ts";
import { bisect } from "../../../../agent/reconciler/subsystems/bisect.ts";
import { FlowSweep } from "../../../../agent/reconciler/subsystems/flow-sweep.ts";
import { Sweeper } from "../../../../agent/reconciler/subsystems/flows.ts";
import { UnsweptObjects } from "../../../../agent/reconciler/subsystems/unswept-objects.ts";
import type { StateAccess } from "../../../../agent/store/state-access.ts";
import { runSync } from "../../../../lib/chunked.ts";
import { type Flow, viewOf } from "../../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { Ipv4 } from "../../../../lib/model/ipv4.ts";
import type { LedgerAddress } from "../../../../lib/model/ledger.ts";
import type { InterfaceName, ObjectId } from "../../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../../lib/model/observed.ts";
import { emptyState, reduce, type State, type StateChange } from "../../../../lib/state/state.ts";
import { flow as labFlow, network as labNetwork } from "../../../support/conntrack-samples.ts";

const forever = new AbortController().signal;
const report = { changed: 0 } as unknown as PassReport;
const ip = (text: string) => text as Ipv4;

/** A loop whose passes the test ends by hand. */
function handLoop(resyncIntervalMs = 60_000) {
  const begun: PassRequest[] = [];
  const ends: { end: (outcome?: Partial<PassOutcome>) => void; fail: (error: Error) => void }[] = [];
  const failures: number[] = [];
  let onBegin = () => {};
  const loop = new ReconcileLoop({
    pass: (request) => {
      begun.push(request);
      const { promise, resolve, reject } = Promise.withResolvers<PassOutcome>();
      ends.push({ end: (outcome = {}) => resolve({ report, dueInMs: undefined, ...outcome }), fail: reject });
      onBegin();
      return promise;
    },
    resyncIntervalMs,
    onFailure: (_error, retryInMs) => failures.push(retryInMs),
  });
  const passNumber = (n: number) =>
    new Promise<void>((resolve) => {
      onBegin = () => begun.length >= n && resolve();
      onBegin();
    });
  return { loop, begun, ends, failures, passNumber };
}

t.test("the loop", async (t) => {
  t.test("begins with a full pass, and shares one pass among the wakes of another", async (t) => {
    const { loop, begun, ends, passNumber } = handLoop();
    loop.wake("too early");
    t.equal(begun.length, 0, "nothing runs before the start");
    loop.start();
    await passNumber(1);
    t.strictSame(begun[0], { reasons: ["too early", "start"], isFull: true });
    for (let n = 0; n < 1000; n++) loop.wake("write");
    ends[0]?.end();
    await passNumber(2);
    t.strictSame(begun[1], { reasons: ["write"], isFull: false });
    ends[1]?.end();
    await loop.stop();
    t.equal(begun.length, 2);
  });

  t.test("answers who asked for a pass with one that began after the question", async (t) => {
    const { loop, ends, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    let isAnswered = false;
    const answer = loop.run("asked", forever).then(() => {
      isAnswered = true;
    });
    ends[0]?.end();
    await passNumber(2);
    t.notOk(isAnswered, "the pass under way is not the answer");
    ends[1]?.end();
    await answer;
    await loop.stop();
  });

  t.test("backs off where no pass can be made, and looks at everything then", async (t) => {
    const { loop, begun, ends, failures, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    const asked = loop.run("asked", forever);
    ends[0]?.fail(new Error("unreadable"));
    await passNumber(2);
    ends[1]?.fail(new Error("unreadable"));
    await t.rejects(asked, /unreadable/);
    t.strictSame(failures, [500, 500], "who asks meanwhile makes nobody wait longer");
    t.ok(begun[1]?.isFull);
    await passNumber(3);
    ends[2]?.fail(new Error("unreadable"));
    await delay(0);
    t.strictSame(failures, [500, 500, 1000], "a retry in vain does");
    await loop.stop();
    await t.rejects(loop.run("late", forever), /stopping/);
    await loop.stop();
  });

  t.test("tries again no later than it would have looked anyway", async (t) => {
    const { loop, begun, ends, failures, passNumber } = handLoop(3);
    loop.start();
    for (const n of [1, 2, 3]) {
      await passNumber(n);
      ends[n - 1]?.fail(new Error("unreadable"));
    }
    await passNumber(4);
    t.strictSame(failures, [3, 3, 3]);
    t.strictSame(begun[3], { reasons: ["timer"], isFull: true });
    ends[3]?.end();
    await loop.stop();
  });

  t.test("comes back when the pass asked for it", async (t) => {
    const { loop, begun, ends, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    ends[0]?.end({ dueInMs: 5 });
    await passNumber(2);
    t.strictSame(begun[1], { reasons: ["timer"], isFull: true });
    ends[1]?.end();
    await loop.stop();
  });

  t.test("lets the pass in hand come to its end when stopped", async (t) => {
    const { loop, ends, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    let isStopped = false;
    const stopping = loop.stop().then(() => {
      isStopped = true;
    });
    await delay(5);
    t.notOk(isStopped);
    ends[0]?.end();
    await stopping;
  });
});

t.test("setbacks wait 10 s, doubling to 5 min", async (t) => {
  const setbacks = new Backoff<string>();
  const delays: number[] = [];
  for (let n = 0; n < 8; n++) {
    setbacks.record("a", "refused", 1000);
    delays.push(setbacks.dueInMs(1000) ?? -1);
  }
  t.strictSame(delays, [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
  t.equal(setbacks.waiting(300_999).size, 1);
  t.equal(setbacks.waiting(301_000).size, 0, "then it is tried again");
  setbacks.clear("a");
  t.equal(setbacks.dueInMs(0), undefined);
});

t.test("isolating finds exactly the culprits, and the good ones are done", async (t) => {
  const ids = Array.from({ length: 500 }, (_, n): ObjectId => `fips/f${n}`);
  for (const bad of [["fips/f0"], ["fips/f499"], ["fips/f17", "fips/f18", "fips/f400"]] as ObjectId[][]) {
    let done: readonly ObjectId[] = [];
    let attempts = 0;
    const culprits = await bisect(ids, "refused", async (without) => {
      attempts++;
      const tried = ids.filter((id) => !without.has(id));
      const refused = tried.find((id) => bad.includes(id));
      if (refused === undefined) done = tried;
      return refused && `no ${refused}`;
    });
    t.strictSame([...culprits.keys()], bad);
    t.equal(culprits.get(bad[0] ?? "fips/x"), `no ${bad[0]}`, "with the kernel's words on it");
    t.equal(done.length, ids.length - bad.length);
    t.ok(attempts <= 2 + bad.length * 20, `${attempts} transactions`);
  }
  await t.rejects(
    bisect(ids, "no such table", async () => "no such table"),
    { code: "rules-refused", message: "no such table" },
    "no object is at fault where the kernel refuses without any",
  );
  const all = await bisect(ids, "refused", async (without) => (without.size === 500 ? undefined : "no"));
  t.equal(all.size, 500, "a search has a bound, and what it did not try waits");
});

t.test("the arpProbe asks once, leaves out meanwhile, and asks again about conflicts", async (t) => {
  let nowMs = 0;
  const asked: Ipv4[][] = [];
  let answer = Promise.withResolvers<ReadonlyMap<Ipv4, string>>();
  const announcer: Pick<Announcer, "probe"> = {
    probe: (addresses) => {
      asked.push(addresses.map(({ address }) => address));
      return answer.promise;
    },
  };
  let wakes = 0;
  const arpProbe = new ArpProbe({
    announcer,
    nowMs: () => nowMs,
    onAnswer: () => wakes++,
    onFailure: () => {},
  });
  const on = (address: string) => ({ interface: "net1" as InterfaceName, address: ip(address) });
  const two = [on("203.0.113.10"), on("203.0.113.11")];

  t.strictSame([...arpProbe.review(two).probing], ["203.0.113.10", "203.0.113.11"]);
  arpProbe.review(two);
  t.equal(asked.length, 1, "not asked twice");
  answer.resolve(new Map([[ip("203.0.113.11"), "aa:bb:cc:dd:ee:ff"]]));
  await delay(1);
  t.equal(wakes, 1);
  const after = arpProbe.review(two);
  t.equal(after.probing.size, 0);
  t.strictSame([...after.addressConflicts], [["203.0.113.11", "aa:bb:cc:dd:ee:ff"]]);

  answer = Promise.withResolvers();
  nowMs = 10_000;
  t.strictSame([...arpProbe.review(two).probing], ["203.0.113.11"], "asked again when its time has come");
  answer.reject(new Error("no socket"));
  await delay(1);
  t.equal(arpProbe.review(two).probing.size, 0, "where nobody can be asked, nobody holds it");

  arpProbe.review([]);
  answer = Promise.withResolvers();
  answer.resolve(new Map());
  t.equal(arpProbe.review(two).probing.size, 2, "what was given up is asked about anew");
  await arpProbe.stop();

  const mute = new ArpProbe({
    announcer: undefined,
    nowMs: () => 0,
    onAnswer: () => {},
    onFailure: () => {},
  });
  t.equal(mute.review(two).probing.size, 0, "where nobody is to be asked, nothing waits for an answer");
});

t.test("the sweep kills no flow more than twice under one program", async (t) => {
  const tuple = {
    source: ip("10.0.1.5"),
    destination: ip("198.51.100.1"),
    sourcePort: 1000,
    destinationPort: 53,
  };
  const flow: Flow = { protocol: 17, original: tuple, reply: tuple, status: 0, zone: 0, id: 1 };
  let isStubborn = true;
  let present = [flow];
  const conntrack: ConntrackDriver = {
    find: async () => ({ flows: present, total: present.length }),
    remove: async (flows) => {
      if (!isStubborn) present = [];
      return { removed: flows.length };
    },
  };
  const sweep = new FlowSweep(conntrack);
  const always = () => true;
  for (const expected of [
    { removed: 1, remaining: [], shadowed: 0 },
    { removed: 1, remaining: [], shadowed: 0 },
    { removed: 0, remaining: [], shadowed: 1 },
    // Spared, it is not forgotten: every second sweep would kill it for ever.
    { removed: 0, remaining: [], shadowed: 1 },
  ]) {
    t.strictSame(await sweep.sweep(always, "v1", forever), expected);
  }
  isStubborn = false;
  t.strictSame(
    await sweep.sweep(always, "v2", forever),
    { removed: 1, remaining: [], shadowed: 0 },
    "another program, another count",
  );
});

t.test("the turnstile lets one through at a time, failures included", async (t) => {
  const turnstile = new Mutex();
  const order: string[] = [];
  const slow = turnstile.pass(async () => {
    await delay(5);
    order.push("slow");
    throw new Error("failed");
  });
  const quick = turnstile.pass(async () => order.push("quick"));
  await t.rejects(slow, /failed/);
  await quick;
  t.strictSame(order, ["slow", "quick"]);
});

/** Looks ahead over rules that name these EIPs and ask for nothing. */
function lookAheadOver(eipsIn: () => ReadonlySet<Ipv4>) {
  const dataplane = {
    eipsIn,
    *planChunked() {
      yield;
      return { changes: [], steps: undefined };
    },
  } as unknown as Dataplane;
  return createLookAhead(dataplane, {
    vpcInterface: "eth0" as InterfaceName,
    externalInterface: "net1" as InterfaceName,
    eipBinding: "address",
    fallbackGateway: undefined,
  });
}

const circumstances: Circumstances = {
  gate: "open",
  expiredLeases: new Set(),
  probing: new Set(),
  addressConflicts: new Map(),
  quarantined: new Map(),
};

t.test("a stray rule does not make an EIP of the gateway's own address", async (t) => {
  const own = ip("203.0.113.254");
  let named = new Set<Ipv4>();
  const lookAhead = lookAheadOver(() => named);
  const link = { index: 1, mac: "", isUp: true, hasCarrier: true };
  const network = () =>
    ({
      links: [
        { ...link, name: "eth0" },
        { ...link, name: "net1" },
      ],
      addresses: [{ interface: "net1", address: own, prefixLength: 24, isSecondary: false, label: "" }],
      routes: [],
      sysctls: new Map(),
    }) as unknown as ObservedNetwork;
  const object = { spec: { name: "own", address: `${own}/24` }, revision: 1, creation: 1 };
  const state = reduce(emptyState, [{ type: "put", kind: "eip", object } as unknown as StateChange]);
  const look = () => runSync(lookAhead(state, { network: network(), rules: {} }, circumstances));
  t.ok(look().own.has(own));
  named = new Set([own]);
  for (const time of ["once", "twice"]) {
    const { own: ownNow, compiled, addresses } = look();
    t.ok(ownNow.has(own), time);
    t.match(compiled.blocked.get("eips/own"), { isAccepted: false, reason: "Conflict" });
    t.strictSame([...addresses.remove, ...addresses.ledgerMissing], []);
  }
});

t.test("rules that name the same EIPs do not have addresses planned anew", async (t) => {
  let named = ["203.0.113.1", "203.0.113.2"].map(ip);
  const lookAhead = lookAheadOver(() => new Set(named));
  const network = { links: [], addresses: [], routes: [], sysctls: new Map() };
  const look = () => runSync(lookAhead(emptyState, { network, rules: {} }, circumstances)).addresses;
  const first = look();
  t.equal(look(), first);
  named = named.slice(1);
  t.not(look(), first);
});

t.test("an address that somebody took away is written down already", async (t) => {
  const entry = { interface: "net1" as InterfaceName, address: ip("203.0.113.1"), prefixLength: 24 };
  const other = { ...entry, prefixLength: 25 };
  const state = reduce(emptyState, [{ type: "ledger-add", entry }]);
  const written: StateChange[] = [];
  const store = {
    current: state,
    transact: async (decide: (state: State) => { readonly changes: readonly StateChange[] }) => {
      written.push(...decide(state).changes);
    },
  } as unknown as StateAccess;
  const outlookOf = (...entries: readonly LedgerAddress[]) =>
    ({
      addresses: { add: entries.map((entry) => ({ entry })), remove: [], ledgerMissing: [] },
      compiled: { program: { eips: [{ address: entry.address }] } },
      own: new Set(),
    }) as unknown as Outlook;
  await writeAhead(store, outlookOf(entry), new Set());
  t.same(written, []);
  await writeAhead(store, outlookOf(entry, other), new Set());
  t.same(written, [{ type: "ledger-add", entry: other }]);
});

t.test("an unbound EIP is written down once, and forgotten when no rule may name it any more", async (t) => {
  let state = emptyState;
  const written: string[] = [];
  const store = {
    get current() {
      return state;
    },
    transact: async (decide: (state: State) => { readonly changes: readonly StateChange[] }) => {
      const { changes } = decide(state);
      written.push(...changes.map(({ type }) => type));
      state = reduce(state, changes);
    },
  } as unknown as StateAccess;
  const outlookOf = (unboundEips: readonly { readonly address: Ipv4 }[]) =>
    ({
      addresses: { add: [], remove: [], ledgerMissing: [], ledgerStale: [] },
      compiled: { program: { eips: [], unboundEips } },
      own: new Set(),
    }) as unknown as Outlook;
  const address = ip("203.0.113.1");
  for (const named of [[], [address]]) {
    await writeAhead(store, outlookOf([{ address }]), new Set(named));
    await strikeOff(store, outlookOf([{ address }]), true);
    t.same([written, [...state.ledger.retired]], [["retire"], [address]]);
  }
  await strikeOff(store, outlookOf([]), false);
  t.same([...state.ledger.retired], [address], "its flows may live");
  await strikeOff(store, outlookOf([]), true);
  t.same([...state.ledger.retired], []);
});

t.test("the subnets that no EIP may eclipse are those that were observed", async (t) => {
  const lookAhead = lookAheadOver(() => new Set());
  const object = { spec: { name: "e", address: "10.0.1.50/25" }, revision: 1, creation: 1 };
  const state = reduce(emptyState, [{ type: "put", kind: "eip", object } as unknown as StateChange]);
  const links = ["eth0", "net1"].map((name) => ({ name, index: 1, mac: "", isUp: true, hasCarrier: true }));
  const reasonOn = (name: string) => {
    const addresses = [
      { interface: name, address: ip("10.0.1.254"), prefixLength: 24, isSecondary: false, label: "" },
    ];
    const network = { links, addresses, routes: [], sysctls: new Map() } as unknown as ObservedNetwork;
    const { compiled } = runSync(lookAhead(state, { network, rules: {} }, circumstances));
    return compiled.blocked.get("eips/e")?.reason;
  };
  t.equal(reasonOn("eth0"), "Conflict");
  t.equal(reasonOn("net1"), undefined, "on its own interface it is at home");
});

t.test("the timer alone asks for a sweep where the last one found something", async (t) => {
  let flows: readonly Flow[] = [
    labFlow("udp 198.51.100.7:4000 203.0.113.10:53 | 10.0.1.5:53 198.51.100.7:4000"),
  ];
  const parts = {
    clock: { bootMs: () => 1_000 },
    dataplane: { eipsIn: () => new Set([ip("203.0.113.10")]) },
    conntrack: {
      find: async () => ({ flows, total: flows.length }),
      remove: async () => ({ removed: flows.length }),
    },
  } as unknown as PassDeps;
  const outlook = {
    addresses: { remove: [] },
    compiled: { program: { eips: [], fips: [], dnats: [], pools: [], routes: [] } },
    own: new Set(),
  } as unknown as Outlook;
  const seen = { network: labNetwork, rules: {} };
  const sweeper = new Sweeper(parts);
  const timer = { isFull: true, reasons: ["timer"] };
  for (const isFound of [true, false]) {
    await sweeper.sweep(outlook, seen, emptyState.ledger, "v", forever);
    t.equal(sweeper.isDue(timer), isFound);
    t.ok(sweeper.isDue({ isFull: true, reasons: ["api"] }), "who asks gets one");
    flows = [];
  }
});

t.test("a narrow pass ends the flows that its change contradicts", async (t) => {
  const stored = (spec: object, creation: number) => ({ spec, revision: creation, creation });
  const put = (kind: string, spec: object, creation: number) =>
    ({ type: "put", kind, object: stored(spec, creation) }) as unknown as StateChange;
  const without = reduce(emptyState, [
    put("eip", { name: "e", address: "203.0.113.10/24" }, 1),
    put("snat", { name: "s", eip: "e", internalCIDR: "10.0.1.0/24" }, 2),
  ]);
  const withFip = reduce(without, [put("fip", { name: "f", eip: "e", internalIp: "10.0.1.5" }, 3)]);
  const base = {
    isClean: true,
    gate: "open",
    refusals: [],
    seen: { network: labNetwork },
    verdicts: new Map([["eips/e", { ready: { holds: true } }]]),
    residual: {
      compiled: { blocked: new Map() },
      sysctls: [],
      context: {
        vpcInterface: "eth0",
        externalInterface: "net1",
        ownAddresses: new Set(),
        expiredLeases: new Set(),
        addressConflicts: new Map(),
        quarantined: new Map(),
        missingInterfaces: new Set(),
      },
    },
  } as unknown as PassResult;
  const change = { action: "add", subsystem: "rules", text: "a rule", object: "fips/f" } as const;
  let isWritten = false;
  const dataplane = {
    apply: async () => {
      isWritten = true;
    },
    shortcut: {
      base: async () => ({}),
      readBack: async () => ({}),
      planPart: () => ({ changes: isWritten ? [] : [change], steps: undefined }),
    },
  };
  const play = async (conntrack: ConntrackDriver, [from, to] = [without, withFip]) => {
    isWritten = false;
    const unswept = new UnsweptObjects();
    unswept.clear({ revision: 2, blocked: new Map() });
    const parts = { dataplane, conntrack } as unknown as PassDeps;
    const ids = new Set<ObjectId>(["fips/f"]);
    const found = await new IncrementalPass(parts, unswept).run(ids, to, { ...base, state: from }, forever);
    return { found, unswept: [...unswept.objects.keys()] };
  };

  const stale = labFlow("udp 198.51.100.7:4000 203.0.113.10:53");
  const plain = labFlow("udp 10.0.1.5:4000 198.51.100.7:53");
  const inward = labFlow("udp 198.51.100.7:4001 203.0.113.10:53 | 10.0.1.5:53 198.51.100.7:4001");
  const flows = [
    stale,
    plain,
    inward,
    // By the FIP or by the SNAT, which the change does not reach.
    labFlow("udp 10.0.1.5:4002 198.51.100.7:53 | 198.51.100.7:53 203.0.113.10:4002"),
    // Contradicts too, and is for the sweeps of whole passes: it was there before.
    labFlow("udp 10.0.1.6:4003 198.51.100.7:53"),
  ];
  let removed: readonly Flow[] = [];
  const driver: ConntrackDriver = {
    find: async (matches, limit, _signal, ends) => {
      t.ok(isWritten, "the rules come first");
      t.strictSame(ends?.length, 2);
      const found = flows.filter((flow) => matches(viewOf(flow)));
      return { flows: found.slice(0, limit), total: found.length };
    },
    remove: async (doomed) => {
      removed = doomed;
      return { removed: doomed.length };
    },
  };
  const ended = await play(driver);
  t.strictSame(removed, [stale, plain]);
  t.strictSame(ended.found?.sweep, { removed: 2, remaining: [], shadowed: 0 });
  t.ok(ended.found?.verdicts.get("fips/f")?.ready.holds);
  t.strictSame(ended.unswept, []);

  const { found } = await play(driver, [withFip, without]);
  t.strictSame([removed, found?.sweep.removed], [[plain, inward], 2], "what another object permits stays");

  const none = await play({ ...driver, find: async () => ({ flows: [], total: 0 }) });
  t.strictSame(none.found?.sweep.removed, 0);
  const broken = new GatewayError("netlink-failed", "a dump was cut short");
  for (const [why, fails] of Object.entries({
    "the table cannot be read": { find: () => Promise.reject(broken) },
    "a flow cannot be deleted": { remove: () => Promise.reject(broken) },
    "there are too many": { find: async () => ({ flows: [], total: 1 }) },
  })) {
    t.strictSame(
      await play({ ...driver, ...fails }),
      { found: undefined, unswept: ["fips/f"] },
      `${why}: a whole pass is asked for, and until it swept nothing is Ready`,
    );
  }
  await t.rejects(play({ ...driver, find: () => Promise.reject(new RangeError("a bug")) }), /a bug/);
});
