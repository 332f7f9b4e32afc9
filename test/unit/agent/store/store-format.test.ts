/** Journals of other versions: older ones are read unchanged, and what a newer one wrote is kept. */

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Log } from "../../../../agent/log.ts";
import { openStore } from "../../../../agent/store/open-store.ts";
import { encodeRecord } from "../../../../agent/store/records.ts";
import { readJournal } from "../../../../agent/store/recovery.ts";
import { journalName } from "../../../../agent/store/set-aside.ts";
import { stateCodec } from "../../../../agent/store/state-codec.ts";
import { startStore } from "../../../../agent/store/store.ts";
import { deleteObject } from "../../../../lib/admission/delete-object.ts";
import { putObject } from "../../../../lib/admission/put-object.ts";
import type { WriteContext } from "../../../../lib/admission/writes.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";
import { isAllRecognized, type JsonObject } from "../../../../lib/state/unrecognized.ts";
import { FakeDisk } from "../../../support/fake-disk.ts";
import { newerCodec } from "../../../support/newer-codec.ts";

const codec = stateCodec();
const quiet: Pick<Log, "info" | "warn" | "error"> = { info() {}, warn() {}, error() {} };
const fixture = (name: string) => join(import.meta.dirname, "../../../fixtures/journal-format-1", name);

const instant = { bootId: "boot", bootMs: 5, wallMs: 1_000 };
const context: WriteContext = {
  now: instant,
  facts: {
    ownAddresses: new Set(),
    connectedSubnets: undefined,
    fallbackGateway: undefined,
    vpcInterface: "eth0" as InterfaceName,
    externalInterface: "net1" as InterfaceName,
  },
  isUnadopted: false,
  digest: (text) => text,
};

const stored = (spec: object, creation: number, more = {}) => ({ spec, revision: 1, creation, ...more });
const eip = (name: string, more = {}) => ({ name, address: "203.0.113.10/24", ...more });
/** A snapshot of the current format. */
const snapshot = {
  isSet: true,
  revision: 7,
  generation: 3,
  lastFullSet: { generation: 3, digest: "d" },
  nextCreation: 9,
  gateway: { defaultGateway: "203.0.113.1" },
  objects: {
    eips: [stored(eip("eip-a", { leaseSeconds: 5 }), 1)],
    fips: [],
    snats: [],
    dnats: [],
    routes: [],
  },
  tombstones: [{ key: "eip/u1", untilMs: 5_000 }],
  leases: [{ name: "eip-a", renewed: instant }],
  ledger: { epoch: "e1", addresses: ["net1 203.0.113.10/24"], retired: [] },
};
const put = (kind: string, object: object, more = {}) => ({ type: "put", kind, object, ...more });

const journalOf = (first: JsonObject, ...groups: readonly (readonly object[])[]) =>
  Buffer.concat([
    encodeRecord({ format: 2, seq: 1, snapshot: first }),
    ...groups.map((changes, index) => encodeRecord({ seq: index + 2, changes })),
  ]);
const openOn = (disk: FakeDisk, smallestCompacted = 1e6) =>
  startStore({ directory: disk.directory(), codec, now: () => 0, log: quiet, smallestCompacted });
/** The snapshot that the journal begins with. */
const firstOf = (disk: FakeDisk): JsonObject => {
  const [line = ""] = (disk.content(journalName)?.toString() ?? "").split("\n");
  return JSON.parse(line.slice(9)).snapshot;
};
/** Opens the journal, writes once, and compacts: then this version has written everything in it. */
async function rewritten(bytes: Buffer, ...changes: readonly object[]): Promise<FakeDisk> {
  const disk = new FakeDisk().put(journalName, bytes);
  const store = await openOn(disk, 1);
  const filler = Array.from({ length: 60 }, (_, index) => ({
    type: "retire",
    addresses: [`10.0.0.${index}`],
  }));
  for (const list of [changes, filler]) {
    const decoded = codec.decodeChanges(list);
    await store.transact(() => ({ changes: decoded, result: undefined }));
  }
  // Comes after the compaction.
  for (const times of Array(40).keys())
    await store.transact(() => ({
      changes: codec.decodeChanges([{ type: "revision", revision: 8 + times }]),
      result: 0,
    }));
  await store.close();
  t.ok(disk.calls.includes("rename"), "compacted");
  return disk;
}

for (const [name, recovered] of [
  ["ordinary", "intact"],
  ["torn", "torn"],
] as const) {
  t.test(`a journal of format 1, ${name}, is read as it is`, async (t) => {
    const directory = t.testdir();
    const path = join(directory, journalName);
    await copyFile(fixture(`${name}.journal`), path);
    const before = await readFile(path);
    const store = await openStore({ directory, now: () => 0, log: quiet });
    t.match(store.recovery, { recovered, unrecognized: undefined });
    const wanted = JSON.parse(await readFile(fixture(`${name}.state.json`), "utf8"));
    const { objects, ...others } = codec.encodeState(store.current) as JsonObject & { objects: object };
    const limits: unknown[] = []; // A kind that format 1 did not have.
    t.strictSame({ ...others, ...objects }, { ...wanted, limits }, "what its own version read from it");
    t.equal(wanted.dnats.length + wanted.snats.length + wanted.tombstones.length, 7, "and that is something");
    if (recovered === "intact")
      t.same(await readFile(path), before, "not written to before there is a write");

    const { state } = await store.transact(() => ({
      changes: codec.decodeChanges([{ type: "revision", revision: 100 }]),
      result: undefined,
    }));
    await store.close();
    t.match(
      await readFile(path, "utf8"),
      /^[0-9a-f]{8} \{"format":2,[^\n]*\n$/,
      "the first write brings it up to date",
    );
    const again = await openStore({ directory, now: () => 0, log: quiet });
    t.equal(again.recovery.recovered, "intact");
    t.strictSame(again.current, state);
    await again.close();
  });
}

/** Each with the unknown parts of the stored state, and what this version keeps of them in a compaction. */
const kept: readonly {
  readonly what: string;
  readonly first?: object;
  readonly groups?: readonly (readonly object[])[];
  readonly parts: readonly { readonly path: string; readonly count: number }[];
  readonly keeps: object;
}[] = [
  {
    what: "a collection of an unknown kind",
    first: { objects: { ...snapshot.objects, quotas: [stored({ name: "q", rate: 1 }, 2), { odd: true }] } },
    parts: [{ path: "objects.quotas", count: 2 }],
    keeps: { objects: { quotas: [stored({ name: "q", rate: 1 }, 2), { odd: true }] } },
  },
  {
    what: "a collection that is no list",
    first: { objects: { ...snapshot.objects, index: { a: 1 } } },
    parts: [{ path: "objects.index", count: 1 }],
    keeps: { objects: { index: { a: 1 } } },
  },
  {
    what: "a field of a spec, and one of what is stored with it",
    first: {
      objects: { eips: [stored(eip("eip-a", { pooled: false }), 1, { by: "admin" }), stored(eip("b"), 2)] },
    },
    parts: [
      { path: "objects.eips[*].spec.pooled", count: 1 },
      { path: "objects.eips[*].by", count: 1 },
    ],
    keeps: {
      objects: { eips: [stored(eip("eip-a", { pooled: false }), 1, { by: "admin" }), stored(eip("b"), 2)] },
    },
  },
  {
    what: "a field deep in a spec, in the log",
    groups: [
      [
        put(
          "dnat",
          stored(
            {
              name: "d",
              eip: "e",
              protocol: "tcp",
              externalPort: 1,
              backends: [1, 2].map((port) => ({ ip: "10.0.0.1", port, weight: 3 })),
            },
            9,
          ),
        ),
      ],
    ],
    parts: [{ path: "objects.dnats[*].spec.backends[*].weight", count: 2 }],
    keeps: {
      objects: { dnats: [{ spec: { name: "d", backends: [{ weight: 3 }, { port: 2, weight: 3 }] } }] },
    },
  },
  {
    what: "members of the snapshot",
    first: { flowLog: { cursor: 5 }, pools: [1, 2, 3] },
    parts: [
      { path: "flowLog", count: 1 },
      { path: "pools", count: 3 },
    ],
    keeps: { flowLog: { cursor: 5 }, pools: [1, 2, 3] },
  },
  {
    what: "fields of the gateway, the mark, a tombstone and a lease, in the snapshot",
    first: {
      gateway: { ...snapshot.gateway, mtu: 1400 },
      lastFullSet: { ...snapshot.lastFullSet, writer: "w" },
      tombstones: [{ key: "eip/u1", untilMs: 5_000, by: "w" }],
      leases: [{ name: "eip-a", renewed: { ...instant, tick: 1 } }],
    },
    parts: [
      { path: "gateway.mtu", count: 1 },
      { path: "tombstones[*].by", count: 1 },
      { path: "leases[*].renewed.tick", count: 1 },
      { path: "lastFullSet.writer", count: 1 },
    ],
    keeps: {
      gateway: { defaultGateway: "203.0.113.1", mtu: 1400 },
      lastFullSet: { generation: 3, digest: "d", writer: "w" },
      tombstones: [{ key: "eip/u1", untilMs: 5_000, by: "w" }],
      leases: [{ name: "eip-a", renewed: { bootMs: 5, tick: 1 } }],
    },
  },
  {
    what: "the same in the log",
    groups: [
      [
        { type: "gateway", gateway: { mtu: 1400 } },
        { type: "full-set", generation: 4, digest: "e", writer: "w" },
      ],
      [
        { type: "tombstone", key: "eip/u2", untilMs: 6_000, by: "w" },
        { type: "lease", name: "eip-a", renewed: instant, from: "here" },
      ],
    ],
    parts: [
      { path: "gateway.mtu", count: 1 },
      { path: "lastFullSet.writer", count: 1 },
      { path: "tombstones[*].by", count: 1 },
      { path: "leases[*].from", count: 1 },
    ],
    keeps: {
      gateway: { mtu: 1400 },
      lastFullSet: { generation: 4, digest: "e", writer: "w" },
      tombstones: [{ key: "eip/u1" }, { key: "eip/u2", untilMs: 6_000, by: "w" }],
      leases: [{ name: "eip-a", from: "here" }],
    },
  },
  {
    what: "members of the ledger",
    first: { ledger: { ...snapshot.ledger, classes: ["1:10"] } },
    parts: [{ path: "ledger.classes", count: 1 }],
    keeps: { ledger: { epoch: "e1", classes: ["1:10"] } },
  },
  {
    what: "changes of an unknown type or kind, in their order among known ones",
    groups: [
      [
        { type: "usage", eip: "eip-a", bytes: 1 },
        put("quota", stored({ name: "q" }, 40)),
        { type: "revision", revision: 8 },
      ],
      [
        { type: "delete", kind: "quota", name: "q" },
        { type: "usage", eip: "eip-a", bytes: 2 },
      ],
    ],
    parts: [
      { path: "changes.usage", count: 2 },
      { path: "changes.put.quota", count: 1 },
      { path: "changes.delete.quota", count: 1 },
    ],
    keeps: {
      nextCreation: 41,
      unrecognized: [
        { type: "usage", eip: "eip-a", bytes: 1 },
        put("quota", stored({ name: "q" }, 40)),
        { type: "delete", kind: "quota", name: "q" },
        { type: "usage", eip: "eip-a", bytes: 2 },
      ],
    },
  },
  {
    what: "fields of a change that are of no record",
    groups: [
      [
        { type: "delete", kind: "eip", name: "eip-a", graceful: true },
        put("route", stored({ name: "r", destination: "10.0.0.0/8", via: "10.0.0.1" }, 9), {
          origin: "import",
        }),
      ],
    ],
    parts: [
      { path: "changes.partly-applied.delete", count: 1 },
      { path: "changes.partly-applied.put", count: 1 },
    ],
    keeps: {
      objects: { eips: [], routes: [{ spec: { name: "r" } }] },
      unrecognized: [
        { type: "partly-applied", change: { type: "delete", kind: "eip", name: "eip-a", graceful: true } },
        { type: "partly-applied", change: { type: "put", origin: "import" } },
      ],
    },
  },
];

for (const { what, first = {}, groups = [], parts, keeps } of kept) {
  t.test(`kept and reported: ${what}`, async (t) => {
    const bytes = journalOf({ ...snapshot, ...first }, ...groups);
    const unrecognized = parts.toSorted((one, other) => one.path.localeCompare(other.path, "en"));
    const store = await openOn(new FakeDisk().put(journalName, bytes));
    t.strictSame(store.recovery, { recovered: "intact", detail: "", unrecognized });
    t.equal(isAllRecognized(store.current.unrecognized), false);
    for (const { spec } of store.current.desired.eips.values())
      t.notOk("pooled" in spec, "in force is only what is known");

    const disk = await rewritten(bytes);
    t.match(firstOf(disk), keeps);
    const again = await openOn(disk);
    t.strictSame(again.recovery.unrecognized, unrecognized);
  });
}

t.test("a write drops the unknown fields of the record that it replaces or removes", async (t) => {
  const records = {
    gateway: { mtu: 1400 },
    lastFullSet: { generation: 3, digest: "d", writer: "w" },
    objects: {
      eips: [stored(eip("eip-a", { pooled: false }), 1), stored(eip("eip-b", { pooled: false }), 2)],
    },
    tombstones: [
      { key: "eip/u1", untilMs: 5_000, by: "w" },
      { key: "eip/u2", untilMs: 5_000, by: "w" },
    ],
    ledger: { ...snapshot.ledger, classes: ["1:10"] },
    leases: ["eip-a", "eip-b", "eip-c"].map((name) => ({ name, renewed: { ...instant, tick: 1 } })),
  };
  const bytes = journalOf({ ...snapshot, ...records }, [
    { type: "ledger-class", class: "1:11" },
    { type: "usage" },
  ]);
  const changes = [
    put("eip", stored(eip("eip-a"), 1)),
    { type: "delete", kind: "eip", name: "eip-b" },
    { type: "lease", name: "eip-c", renewed: instant },
    { type: "gateway", gateway: {} },
    { type: "full-set", generation: 4, digest: "e" },
    { type: "tombstone", key: "eip/u1", untilMs: 6_000 },
    { type: "forget-tombstone", key: "eip/u2" },
    { type: "ledger-epoch", epoch: "e2" },
  ];
  const { state } = readJournal(bytes, codec);
  t.equal(state.unrecognized.records.size, 9);
  t.equal(codec.reduce(state, codec.decodeChanges(changes)).unrecognized.records.size, 0);
  const disk = await rewritten(bytes, ...changes);
  const { gateway, lastFullSet, objects, tombstones, leases, ledger, unrecognized } = firstOf(disk);
  t.strictSame(gateway, {});
  t.strictSame(lastFullSet, { generation: 4, digest: "e" });
  t.strictSame((objects as JsonObject).eips, [stored(eip("eip-a"), 1)]);
  t.strictSame(tombstones, [{ key: "eip/u1", untilMs: 6_000 }]);
  t.strictSame(leases, [{ name: "eip-c", renewed: instant }]);
  t.notOk("classes" in (ledger as JsonObject), "it was of another epoch");
  t.strictSame(
    unrecognized,
    [{ type: "usage" }],
    "and so was a change whose type says that it is of the ledger",
  );
});

t.test("a PUT without changes keeps unknown fields, any other PUT drops them", async (t) => {
  const bytes = journalOf({ ...snapshot, objects: { eips: [stored(eip("eip-a", { pooled: false }), 1)] } });
  const store = await openOn(new FakeDisk().put(journalName, bytes));
  const write = (spec: object) =>
    store.transact((state) => {
      const { changes } = putObject(state, { kind: "eip", spec: spec as never }, context);
      return { changes, result: undefined };
    });
  await write(eip("eip-a"));
  t.equal(isAllRecognized(store.current.unrecognized), false);
  await write(eip("eip-a", { interface: "net1" }));
  t.equal(isAllRecognized(store.current.unrecognized), true);
  await store.transact((state) => {
    const { changes } = deleteObject(state, { kind: "eip", name: "eip-a" as never }, context);
    return { changes, result: undefined };
  });
  t.equal(store.current.desired.eips.size, 0);
});

t.test("a value that a known field cannot have is corrupt, whatever stands beside it", (t) => {
  const cases: readonly (readonly [string, Buffer])[] = [
    [
      "a field",
      journalOf({ ...snapshot, objects: { eips: [stored({ ...eip("a"), address: "x", pooled: true }, 1)] } }),
    ],
    [
      "a protocol",
      journalOf(snapshot, [
        put("dnat", stored({ name: "d", eip: "e", protocol: "quic", externalPort: 1, by: 1 }, 9)),
      ]),
    ],
    ["a missing field", journalOf(snapshot, [put("eip", stored({ name: "a", pooled: true }, 9))])],
    ["a missing member", journalOf({ ...snapshot, tombstones: undefined, pools: [] })],
    ["a collection that is no list", journalOf({ ...snapshot, objects: { eips: null } })],
    ["a missing revision", journalOf({ ...snapshot, revision: undefined })],
    [
      "a ledger key",
      journalOf({ ...snapshot, ledger: { ...snapshot.ledger, addresses: ["net1"], classes: [] } }),
    ],
    ["a mark", journalOf(snapshot, [{ type: "full-set", generation: "4", digest: "d", by: 1 }])],
    ["changes of a snapshot that are no list", journalOf({ ...snapshot, unrecognized: {} })],
    ["a change without a type", journalOf({ ...snapshot, unrecognized: [{ eip: "a" }] })],
  ];
  for (const [what, bytes] of cases)
    t.match(readJournal(bytes, codec), { journalState: "corrupt", detail: /./ }, what);
  t.equal(readJournal(journalOf(snapshot), codec).journalState, "intact");
  t.end();
});

t.test("a kind that came after the journal was written has no objects yet", (t) => {
  const { state } = readJournal(journalOf({ ...snapshot, objects: {} }), codec);
  t.equal(state.desired.routes.size, 0);
  const { quotas } = readJournal(journalOf(snapshot), newerCodec()).state.state.desired as unknown as {
    quotas: ReadonlyMap<string, unknown>;
  };
  t.equal(quotas.size, 0);
  t.end();
});

t.test("the report is bounded", async (t) => {
  const members = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`member-${index}`, index]));
  const store = await openOn(new FakeDisk().put(journalName, journalOf({ ...snapshot, ...members })));
  t.equal(store.recovery.unrecognized?.length, 20);
  t.equal(Object.keys(store.current.unrecognized.members).length, 500);
});

t.test("a journal of a newer format is refused and left unchanged, whatever it contains", async (t) => {
  const first = encodeRecord({ format: 3, seq: 1, snapshot: { all: "new" } });
  const tails = ["", "00000000 broken\n", "half a line", "\0\0\0\0\n"].map((tail) => Buffer.from(tail));
  for (const tail of tails) {
    const directory = t.testdir();
    const path = join(directory, journalName);
    const bytes = Buffer.concat([first, tail]);
    await writeFile(path, bytes);
    const lines: unknown[] = [];
    const log = { ...quiet, error: (...line: readonly unknown[]) => lines.push(line) };
    for (const times of [1, 2]) {
      const store = await openStore({ directory, now: () => 0, log });
      const detail = "the journal has format 3; this version reads formats up to 2";
      t.strictSame(store.recovery, { recovered: "too-new", detail });
      t.strictSame(store.current, codec.empty);
      const write = store.transact(() => ({
        changes: codec.decodeChanges([{ type: "revision", revision: 1 }]),
        result: undefined,
      }));
      await t.rejects(write, { code: "storage-unavailable", message: /format 3/ });
      await store.close();
      t.match(lines.length, times * 2, "it says so, and that nothing can be stored");
      t.same(await readFile(path), bytes, "byte for byte");
    }
  }
});
