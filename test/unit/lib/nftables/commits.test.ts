/** What commits changed, decoded from real kernel messages, and the commit journal over a socket that loses some. */
import t from "tap";
import { openCommitJournal } from "../../../../agent/kernel/commit-journal.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { encodeMessages } from "../../../../lib/netlink/message.ts";
import {
  type Commit,
  CommitReader,
  commitsSince,
  isBefore,
  touchedKeys,
  touchesFilterTables,
} from "../../../../lib/nftables/commits.ts";
import { mapNames } from "../../../../lib/nftables/maps.ts";

/** From Linux 6.18: type and payload. */
const addFip =
  "0c 020000030a0001006e617467770000000b0002006669705f696e00004c000300480001000c00010008000100cb0071010c000200080001000a0000012c0007000c000100636f756e746572001c0002000c00010000000000000000000c0002000000000000000000";
const deleteFip = addFip.replace("0c ", "0e ");
const addClients =
  "0c 020000050a0001006e617467770000000b000200736e61745f720000600003005c000100100001000c0001000a0000000000000010000a000c0001000a0000ff0000000f0c00020008000100cb0071012c0007000c000100636f756e746572001c0002000c00010000000000000000000c0002000000000000000000";
const addRule =
  "06 02000007080001006e6174000f000200505245524f5554494e4700000c0003000000000000000002300001000e000100696d6d6564696174650000001c0002000800010000000000100002000c00020008000100fffffffb";
const deleteRule = addRule.replace("06 ", "08 ");
const addChainOfIpv6 = "03 0a000009080001006e61740006000300580000000c00020000000000000000010800060000000000";
const deleteTable = "02 0200000a0a0001006e6174677700000008000300000000000c0004000000000000000001";
const generation = (number: number) =>
  `0f 0000000308000100${number.toString(16).padStart(8, "0")}0800020000001130080003006e667400`;
const ofTable = (type: string, name: string) =>
  `${type} 02000000${(name.length + 5).toString(16).padStart(2, "0")}000100${Buffer.from(`${name}\0`.padEnd((name.length + 4) & ~3, "\0")).toString("hex")}`;

function payloadOf(message: string) {
  const [type = "", hex = ""] = message.split(" ");
  return { type: (10 << 8) | Number.parseInt(type, 16), flags: 0, payload: Buffer.from(hex, "hex") };
}

function read(...messages: readonly string[]): readonly Commit[] {
  const reader = new CommitReader();
  return messages.flatMap((message) => {
    const { type, payload } = payloadOf(message);
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    return reader.read(type, view, 0, payload.length) ?? [];
  });
}

const toucheds = (commit: Commit | undefined) =>
  [...(commit?.tables ?? [])].map(([label, { isRemade, growth, keys }]) => [
    label,
    isRemade,
    Object.fromEntries(growth),
    Object.fromEntries([...keys].map(([map, some]) => [map, [...some]])),
  ]);

t.test("events show what a commit changed", async (t) => {
  const [first, second, ...rest] = read(
    addFip,
    deleteFip,
    addClients,
    generation(3),
    addRule,
    addRule,
    deleteRule,
    addChainOfIpv6,
    deleteTable,
    generation(4),
  );
  t.same(rest, []);
  t.same([first?.generation, second?.generation], [3, 4]);
  t.same(toucheds(first), [
    ["ip natgw", false, {}, { fip_in: ["203.0.113.1"], snat_r: ["10.0.0.0-10.0.0.255 . 0.0.0.0-0.0.0.15"] }],
  ]);
  t.same(toucheds(second), [
    ["ip nat", false, { PREROUTING: 1 }, {}],
    ["ip6 nat", true, {}, {}],
    ["ip natgw", true, {}, {}],
  ]);
  t.same(read(addFip, deleteFip), [], "which has not ended");
});

t.test("consecutive commits are joined; if one is missing, nothing is known", async (t) => {
  const commits = read(
    addFip,
    generation(3),
    addRule,
    addRule,
    generation(4),
    addClients,
    deleteRule,
    generation(5),
  );
  t.same(toucheds(commitsSince(3, commits)), [
    ["ip nat", false, { PREROUTING: 1 }, {}],
    ["ip natgw", false, {}, { snat_r: ["10.0.0.0-10.0.0.255 . 0.0.0.0-0.0.0.15"] }],
  ]);
  t.same(
    [2, 3, 4, 5, 6].map((from) => commitsSince(from, commits)?.generation),
    [5, 5, 5, 5, 6],
  );
  t.equal(commitsSince(1, commits), undefined);
  t.equal(commitsSince(2, commits.toSpliced(1, 1)), undefined);
  const around = [0xffffffff, 1, 2].map((number) => ({ generation: number, tables: new Map() }));
  t.equal(commitsSince(0xfffffffe, around)?.generation, 2, "the kernel counts around and leaves 0 out");
  t.ok(isBefore(0xffffffff, 1));
  t.notOk(isBefore(1, 1));
});

t.test("keys are returned only if nothing else of ours changed", async (t) => {
  const keysAfter = (...messages: readonly string[]) => {
    const [commit] = read(...messages, generation(3));
    const keys = commit && touchedKeys(commit, mapNames);
    return keys && [...keys.keys()];
  };
  t.same(keysAfter(addFip, addRule, addChainOfIpv6), ["fip_in"]);
  t.same(keysAfter(addRule), []);
  t.equal(keysAfter(addFip, deleteTable), undefined);
  t.equal(keysAfter(addFip, addFip.replace("6669705f696e", "7069705f696e")), undefined, "a set of others");
  t.equal(keysAfter(`${ofTable("06", "natgw_guard")}0600020061000000`), undefined);
  t.equal(keysAfter(ofTable("00", "natgw_gate")), undefined);
  const [commit] = read(addFip, generation(3));
  t.equal(commit && touchedKeys(commit, ["hairpin"]), undefined, "a map that is not as it should be");
  t.notOk(commit && touchesFilterTables(commit.tables));
});

t.test("unknown lines never count as an empty table", async (t) => {
  const bad: Readonly<Record<string, string>> = {
    "no table": "06 02000007",
    "a header cut short": "06 0200",
    "a family that nobody knows": addRule.replace("06 02", "06 63"),
    "a rule of no chain": ofTable("06", "nat"),
    "elements of no set": ofTable("0c", "natgw"),
    "elements of ours without one": addFip.slice(0, addFip.indexOf("4c0003")),
    "an element without its value": addFip.replace("0c000200080001000a000001", "0c000900080001000a000001"),
    "an attribute that runs over the end": addRule.slice(0, addRule.indexOf("524f5554")),
    "a generation message without a number": "0f 00000003",
  };
  for (const [what, message] of Object.entries(bad))
    t.throws(() => read(message), { code: "unreadable" }, what);
  const { payload } = payloadOf(addRule);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  t.throws(() => new CommitReader().read(3, view, 0, payload.length), { code: "unreadable" });
  t.throws(() => new CommitReader().read((2 << 8) | 6, view, 0, payload.length), { code: "unreadable" });
  t.same(toucheds(read(ofTable("7f", "natgw"), generation(1))[0]), [["ip natgw", true, {}, {}]]);
});

/** A socket with waiting messages, or the errno that comes before them. */
function fakeSocket() {
  const waiting: (Uint8Array | number)[] = [];
  const counts = { opened: 0, closed: 0 };
  const socket = {
    send: async () => 0,
    receive(buffer: Uint8Array) {
      const next = waiting.shift() ?? -11;
      if (typeof next === "number") return next;
      buffer.set(next);
      return next.length;
    },
    close: () => {
      counts.closed++;
    },
  };
  const journal = openCommitJournal(() => {
    counts.opened++;
    return socket;
  });
  const tell = (...messages: readonly string[]) => {
    waiting.push(encodeMessages(messages.map(payloadOf), 1, 0));
  };
  return { journal, tell, waiting, counts };
}

t.test("the journal is complete from the generation on that was read after it began", async (t) => {
  const { journal, tell, waiting, counts } = fakeSocket();
  t.equal(journal.since(3), undefined, "before it began");
  const early = journal.beginReading();
  tell(deleteTable, generation(3));
  journal.restart();
  t.same(waiting, [], "what waits is not asked for");
  early(3);
  t.equal(journal.since(3), undefined, "read before it began");
  journal.beginReading()(3);
  t.same(journal.since(3), { generation: 3, tables: new Map() });
  t.equal(journal.since(2), undefined, "before that generation");
  tell(addFip);
  t.equal(journal.since(3)?.generation, 3, "half a commit is none yet");
  tell(addRule, generation(4));
  tell(addClients, generation(5));
  t.same([...(journal.since(3)?.tables.get("ip natgw")?.keys.keys() ?? [])], ["fip_in", "snat_r"]);
  t.equal(journal.since(3)?.generation, 5, "as often as it is asked");
  journal.forget(4);
  t.equal(journal.since(3), undefined, "what was forgotten");
  journal.forget(5);
  t.equal(journal.since(4), undefined);
  tell(addFip, generation(6));
  t.same(journal.since(5)?.generation, 6);
  journal.close();
  t.equal(journal.since(6), undefined);
  t.same(counts, { opened: 1, closed: 1 });
});

t.test("after a loss commits are unknown until the journal is restarted", async (t) => {
  const losses = {
    "an overrun": -105,
    "another error": -12,
    "a message cut short": Buffer.alloc(70_000),
    "what is no message": Buffer.alloc(20, 7),
    "an event that is not understood": encodeMessages([payloadOf("06 02000007")], 1, 0),
  };
  for (const [what, loss] of Object.entries(losses)) {
    const { journal, tell, waiting, counts } = fakeSocket();
    journal.restart();
    journal.beginReading()(3);
    tell(addFip, generation(4));
    if (typeof loss === "number" || loss.length < 100) waiting.push(loss);
    else waiting.push(loss.length);
    tell(addFip, generation(5));
    t.equal(journal.since(3), undefined, what);
    t.equal(journal.since(4), undefined, what);
    journal.beginReading()(5);
    journal.restart();
    t.same(waiting, []);
    t.equal(journal.since(5), undefined, what);
    journal.beginReading()(5);
    tell(addFip, generation(6));
    t.equal(journal.since(5)?.generation, 6, `${what} is over`);
    t.same(counts, { opened: 2, closed: 1 });
  }
});

t.test(
  "a socket that fails while the journal begins is replaced; without one nothing is known",
  async (t) => {
    const { journal, waiting, counts } = fakeSocket();
    waiting.push(-105, -12);
    journal.restart();
    journal.beginReading()(3);
    t.equal(journal.since(3), undefined);
    journal.restart();
    journal.beginReading()(3);
    t.equal(journal.since(3)?.generation, 3);
    t.same(counts, { opened: 2, closed: 1 });

    const none = openCommitJournal(() => {
      throw new GatewayError("netlink-failed", "no such group");
    });
    none.restart();
    none.beginReading()(3);
    t.equal(none.since(3), undefined);
  },
);
