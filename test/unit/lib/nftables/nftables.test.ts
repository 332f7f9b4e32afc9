/** The ruleset's reader and writer on a kernel that other programs write to, that fails and that interrupts dumps. */
import t from "tap";
import type { CommitJournal } from "../../../../agent/kernel/commit-journal.ts";
import type {
  AnswerTo,
  ConversingConnection,
  DumpVisitor,
} from "../../../../agent/kernel/netlink/connection.ts";
import { openNetlink } from "../../../../agent/kernel/netlink/connection.ts";
import { listOthers } from "../../../../agent/kernel/nftables/read.ts";
import type { Run } from "../../../../agent/kernel/run.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { Ip } from "../../../../lib/model/ip.ts";
import { makeCidr } from "../../../../lib/model/ipv4.ts";
import { objectId } from "../../../../lib/model/names.ts";
import type { PoolMember, Program } from "../../../../lib/model/program.ts";
import {
  concatBytes,
  netU32Attribute,
  textAttribute,
  u32Attribute,
} from "../../../../lib/netlink/attributes.ts";
import {
  controlType,
  messageFlag,
  type NetlinkMessage,
  parseErrorOffset,
} from "../../../../lib/netlink/message.ts";
import { type Commit, commitsSince, nextGeneration } from "../../../../lib/nftables/commits.ts";
import { forEachElement } from "../../../../lib/nftables/decode-elements.ts";
import { definitionLines } from "../../../../lib/nftables/definition-lines.ts";
import {
  encodeAdd,
  encodeDelete,
  isElementMessage,
  keyAt,
} from "../../../../lib/nftables/encode-elements.ts";
import { foreignTable, isListable, linesNaming, parseListing } from "../../../../lib/nftables/foreign.ts";
import { byMap, elementMaps, type MapName, mapNames } from "../../../../lib/nftables/maps.ts";
import { batchType, messageType } from "../../../../lib/nftables/wire.ts";
import { wantedTable } from "../../../../lib/plan/nftables/layout.ts";
import { allElements } from "../../../../lib/plan/nftables/table.ts";
import { emptyProgram, iface, ip } from "../../../property/lib/plan/iptables/programs.ts";
import { FakeFilterTables } from "../../../support/fake-filter-tables.ts";
import { nftablesRules } from "../../../support/rules.ts";

const signal = new AbortController().signal;
const inet = Uint8Array.of(2, 0, 0, 0);

/** A fake kernel with one table. It counts commits and records requests. */
class FakeKernel implements ConversingConnection {
  generation = 7;
  definition: NetlinkMessage[] = [];
  elements = byMap(() => new Map<string, string>());
  readonly asked: string[] = [];
  /** The errno for the message at this place of the transaction. 0 is its begin message. */
  refusal: { readonly index: number; readonly errno: number; readonly offset?: number } | undefined;
  /** Called before each dump and each reading by key: moments at which other programs write. */
  beforeDump: () => void = () => undefined;
  beforeGet: () => void = () => undefined;

  request = async () => undefined;
  batch = async () => [];
  close = () => undefined;

  async converse(messages: readonly NetlinkMessage[], onAnswer: AnswerTo): Promise<void> {
    const [first] = messages;
    if (first?.type === messageType.getGeneration) {
      this.asked.push("generation");
      answer(onAnswer, 0, messageType.newGeneration, netU32Attribute(1, this.generation));
    } else if (first?.type === batchType.begin) this.#transact(messages, onAnswer);
    else this.#get(messages, onAnswer);
  }

  async dump(message: NetlinkMessage, onMessage: DumpVisitor): Promise<void> {
    this.beforeDump();
    const tell = (type: number, payload: Uint8Array) => onMessage(type, viewOf(payload), 0, payload.length);
    if (message.type !== messageType.getElements) {
      this.asked.push("definition");
      const type = message.type - 1;
      for (const one of this.definition) if (one.type === type) tell(type, one.payload);
      return;
    }
    const map = mapNames.find((name) => text(message.payload).includes(`\0${name}\0`));
    if (map === undefined) throw new Error("no such map");
    this.asked.push(`all of ${map}`);
    for (const { payload } of encodeAdd(map, this.elements[map])) tell(messageType.newElements, payload);
  }

  #transact(messages: readonly NetlinkMessage[], onAnswer: AnswerTo): void {
    this.asked.push("transaction");
    const stated = viewOf(messages[0]?.payload ?? new Uint8Array()).getUint32(8);
    const { refusal } = this;
    if (stated !== this.generation) refuse(onAnswer, 0, 85);
    else if (refusal !== undefined) refuse(onAnswer, refusal.index, refusal.errno, refusal.offset);
    else if (messages[1]?.type === messageType.deleteTable && this.definition.length === 0)
      refuse(onAnswer, 1, 2);
    else {
      for (const message of messages.slice(1, -1)) this.#commit(message);
      this.generation++;
      refuse(onAnswer, messages.length - 2, 0);
    }
  }

  #commit(message: NetlinkMessage): void {
    if (message.type === messageType.deleteTable) {
      this.definition = [];
      this.elements = byMap(() => new Map());
    } else if (!isElementMessage(message)) this.definition.push(message);
    else if (message.type === messageType.deleteElements)
      for (const key of message.keys) this.elements[message.map as MapName].delete(key);
    else
      forEachElement(message.map, viewOf(message.payload), 0, message.payload.length, (key, value) => {
        this.elements[message.map as MapName].set(key, value);
      });
  }

  #get(messages: readonly NetlinkMessage[], onAnswer: AnswerTo): void {
    this.beforeGet();
    messages.forEach((message, index) => {
      if (!isElementMessage(message)) throw new Error("not a reading");
      const [key = ""] = message.keys;
      this.asked.push(`${message.map} ${key}`);
      const value = this.elements[message.map as MapName].get(key);
      const [found] = value === undefined ? [] : encodeAdd(message.map, new Map([[key, value]]));
      if (found !== undefined)
        onAnswer(index, header(messageType.newElements), viewOf(found.payload), 0, found.payload.length);
      refuse(onAnswer, index, found === undefined ? 2 : 0);
    });
  }
}

function header(type: number) {
  return { type, flags: messageFlag.capped | messageFlag.ackAttributes, sequence: 0, port: 0 };
}

function answer(onAnswer: AnswerTo, index: number, type: number, attributes: Uint8Array): void {
  const payload = concatBytes(inet, attributes);
  onAnswer(index, header(type), viewOf(payload), 0, payload.length);
}

/** An acknowledgement. Errno 0 means success. */
function refuse(onAnswer: AnswerTo, index: number, errno: number, offset?: number): void {
  const payload = acknowledgement(errno, offset);
  onAnswer(index, header(controlType.error), viewOf(payload), 0, payload.length);
}

function acknowledgement(errno: number, offset?: number): Uint8Array {
  const start = new Uint8Array(4 + 16);
  viewOf(start).setInt32(0, -errno, true);
  return offset === undefined ? start : concatBytes(start, u32Attribute(2, offset));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

/** A journal that received every commit from the beginning. */
class FakeJournal implements CommitJournal {
  commits: Commit[] = [];
  onRestart: () => void = () => undefined;

  restart = () => this.onRestart();
  beginReading = () => () => undefined;
  since = (generation: number) => commitsSince(generation, this.commits);
  forget = () => undefined;
  close = () => undefined;

  tell(generation: number, ...keys: readonly string[]): void {
    const touched = {
      isRemade: false,
      growth: new Map(),
      keys: new Map([["fip_in", new Set(keys)] as const]),
    };
    this.commits.push({ generation, tables: new Map([["ip natgw", touched]]) });
  }
}

/** The tool is only used to list the tables of others. */
const nobody: Run = async (argv) => {
  if (argv[2] !== "list") throw new Error(`nobody runs ${argv.join(" ")}`);
  return { exitCode: 0, stdout: "", stderr: "" };
};

function world(options: { readonly nowMs?: () => number; readonly journal?: CommitJournal } = {}) {
  const kernel = new FakeKernel();
  const filterTables = new FakeFilterTables();
  filterTables.onWrite = () => kernel.generation++;
  filterTables.generation = () => kernel.generation;
  const dataplane = nftablesRules({ netlink: kernel, run: nobody, filterTables, ...options });
  const converge = async (program: Program) => {
    const plan = dataplane.plan(program, await dataplane.observe(signal), "open");
    await dataplane.apply(plan, signal);
    return dataplane.plan(program, await dataplane.observe(signal), "open").changes;
  };
  return { kernel, filterTables, dataplane, converge };
}

const fip = (host: number, internal: string) => ({
  id: objectId("fip", `f${host}`),
  eip: ip(`203.0.113.${host}`),
  internalIp: ip(internal),
  isOutward: true,
});
const two: Program = { ...emptyProgram, fips: [fip(1, "10.0.0.1"), fip(2, "10.0.0.2")] };
const other: Program = { ...emptyProgram, fips: [fip(1, "10.0.0.1"), fip(2, "10.0.0.9")] };

t.test("reading an unchanged ruleset costs one request and returns the same object", async (t) => {
  const { kernel, filterTables, dataplane, converge } = world();
  t.same(await converge(two), []);
  const before = await dataplane.observe(signal);
  kernel.asked.length = filterTables.calls.length = 0;
  t.equal(await dataplane.observe(signal), before);
  t.same(kernel.asked, ["generation"]);
  t.same(filterTables.calls, []);
});

t.test("only written elements are read back, by key", async (t) => {
  const { kernel, filterTables, dataplane, converge } = world();
  await converge(two);
  const before = await dataplane.observe(signal);
  kernel.asked.length = filterTables.calls.length = 0;
  t.same(await converge(other), []);
  t.same(kernel.asked, [
    "generation",
    "transaction",
    "generation",
    "fip_in 203.0.113.2",
    "fip_out 10.0.0.2",
    "fip_out 10.0.0.9",
    "generation",
  ]);
  t.same(filterTables.calls, ["filterTables write", "filterTables write", "filterTables read written"]);
  t.equal(
    before.table.elements.fip_in.get("203.0.113.2"),
    "10.0.0.2",
    "what was seen before stays as it was",
  );
});

t.test("a write that is not found in the kernel is not trusted, even if nobody else wrote", async (t) => {
  const { kernel, dataplane, converge } = world();
  await converge(two);
  await dataplane.apply(dataplane.plan(other, await dataplane.observe(signal), "open"), signal);
  kernel.elements.fip_in.delete("203.0.113.2");
  kernel.elements.fip_out.set("10.0.0.9", "203.0.113.7");
  const seen = await dataplane.observe(signal);
  t.same([...dataplane.planner.missing(other, seen).keys()], ["fips/f2"]);
  t.equal(dataplane.plan(other, seen, "open").changes.length, 2);
});

t.test("more than a few hundred elements are read back by map", async (t) => {
  const { kernel, converge } = world();
  await converge(two);
  kernel.asked.length = 0;
  const many = Array.from({ length: 200 }, (_, at) => fip(at, `10.0.1.${at}`));
  t.same(await converge({ ...emptyProgram, fips: many }), []);
  t.same(
    kernel.asked.filter((one) => !["generation", "transaction"].includes(one)),
    ["all of fip_in", "all of fip_out"],
  );
});

t.test(
  "after another writer's commit everything is read again; a writer without pause is an error",
  async (t) => {
    const { kernel, filterTables, dataplane, converge } = world();
    await converge(two);
    kernel.generation++;
    kernel.elements.fip_in.set("203.0.113.99", "10.9.9.9");
    kernel.asked.length = filterTables.calls.length = 0;
    const seen = await dataplane.observe(signal);
    t.equal(kernel.asked.filter((one) => one === "definition").length, 4);
    t.equal(kernel.asked.filter((one) => one.startsWith("all of")).length, 7);
    t.same(filterTables.calls, ["filterTables read"]);
    t.match(dataplane.plan(two, seen, "open").changes, [{ action: "remove", text: /203\.0\.113\.99/ }]);

    let writes = 1;
    kernel.generation++;
    kernel.beforeDump = () => {
      if (writes-- > 0) kernel.generation++;
    };
    await dataplane.observe(signal);
    t.equal(kernel.asked.filter((one) => one === "definition").length, 4 + 8, "a torn reading is made again");
    kernel.beforeDump = () => kernel.generation++;
    kernel.generation++;
    await t.rejects(dataplane.observe(signal), {
      code: "netlink-failed",
      message: /during all 5 readings/,
    });
  },
);

t.test("commits during the reading of changed elements are read too", async (t) => {
  const journal = new FakeJournal();
  const { kernel, dataplane, converge } = world({ journal });
  await converge(two);
  const commit = (key: string, isTold = true) => {
    kernel.generation++;
    kernel.elements.fip_in.delete(key);
    if (isTold) journal.tell(kernel.generation, key);
  };
  const missing = async () => [...dataplane.planner.missing(two, await dataplane.observe(signal)).keys()];
  let restarts = 0;
  journal.onRestart = () => restarts++;
  journal.commits = [];
  commit("203.0.113.1");
  kernel.beforeGet = () => {
    kernel.beforeGet = () => undefined;
    commit("203.0.113.2");
  };
  kernel.asked.length = 0;
  t.same(await missing(), ["fips/f1", "fips/f2"]);
  const byKey = [
    "fip_in 203.0.113.1",
    "generation",
    "fip_in 203.0.113.1",
    "fip_in 203.0.113.2",
    "generation",
  ];
  t.same(kernel.asked, ["generation", ...byKey]);
  t.equal(restarts, 0);

  kernel.elements.fip_in.set("203.0.113.2", "10.0.0.2");
  commit("203.0.113.99");
  commit("203.0.113.98", false);
  t.same(await missing(), ["fips/f1"], "what the journal does not tell of in time has all read");
  t.equal(restarts, 1);
  await dataplane.apply(dataplane.plan(two, await dataplane.observe(signal), "open"), signal);
  journal.tell(kernel.generation, "203.0.113.1", "203.0.113.2");
  commit("203.0.113.2");
  t.same(await missing(), ["fips/f2"], "on top of an own commit");
  t.equal(restarts, 1, "too");
});

t.test("a foreign write while elements are read back causes a full reading", async (t) => {
  const { kernel, dataplane, converge } = world();
  await converge(two);
  await dataplane.apply(dataplane.plan(other, await dataplane.observe(signal), "open"), signal);
  kernel.beforeGet = () => {
    kernel.generation++;
    kernel.elements.fip_in.delete("203.0.113.1");
  };
  t.same([...dataplane.planner.missing(other, await dataplane.observe(signal)).keys()], ["fips/f1"]);
});

t.test(
  "the same rules in another order are another definition; another family's table is not ours",
  async (t) => {
    const { kernel, dataplane, converge } = world();
    await converge(two);
    const stranger = Uint8Array.of(1, ...(kernel.definition[0]?.payload.subarray(1) ?? []));
    kernel.definition.push({ type: messageType.newTable, flags: 0, payload: stranger });
    kernel.generation++;
    t.same(dataplane.plan(two, await dataplane.observe(signal), "open").changes, []);
    const last = kernel.definition.findLastIndex(({ type }) => type === messageType.newRule);
    kernel.definition.splice(last - 1, 0, ...kernel.definition.splice(last, 1));
    kernel.generation++;
    const { changes } = dataplane.plan(two, await dataplane.observe(signal), "open");
    t.match(changes, [{ action: "replace", text: "table ip natgw" }]);
  },
);

t.test("a foreign element that takes an object's packets is detected", async (t) => {
  const { kernel, dataplane, converge } = world();
  const cidr = makeCidr(ip("10.0.0.0"), 24);
  const members: [PoolMember] = [{ id: objectId("snat", "s"), eip: ip("203.0.113.9"), mapping: "random" }];
  const pools = [{ cidr, interface: iface("net1"), members }];
  await converge({ ...two, pools });
  const missingAfter = async (map: "fip_out", key: string) => {
    kernel.generation++;
    kernel.elements[map].set(key, "198.51.100.1");
    const missing = dataplane.planner.missing({ ...two, pools }, await dataplane.observe(signal));
    kernel.elements[map].delete(key);
    return [...missing.keys()];
  };
  t.same(await missingAfter("fip_out", "10.0.1.1"), []);
  t.same(await missingAfter("fip_out", "10.0.0.77"), ["snats/s"]);
  t.throws(() => encodeAdd("fip_out", new Map([["*", "198.51.100.1"]])), TypeError);
});

t.test("everything is read periodically, whatever the generation", async (t) => {
  let nowMs = 0;
  const { kernel, dataplane, converge } = world({ nowMs: () => nowMs });
  await converge(two);
  kernel.elements.fip_in.delete("203.0.113.1");
  nowMs = 599_999;
  t.equal(dataplane.planner.missing(two, await dataplane.observe(signal)).size, 0);
  nowMs = 600_000;
  t.equal(dataplane.planner.missing(two, await dataplane.observe(signal)).size, 1);
});

t.test("a commit in between causes a new plan; five of them are an error", async (t) => {
  const { kernel, dataplane, converge } = world();
  await converge(two);
  const plan = dataplane.plan(other, await dataplane.observe(signal), "open");
  kernel.generation++;
  kernel.elements.fip_in.set("203.0.113.2", "10.0.0.77");
  await dataplane.apply(plan, signal);
  t.same(dataplane.plan(other, await dataplane.observe(signal), "open").changes, []);

  const late = dataplane.plan(two, await dataplane.observe(signal), "open");
  kernel.refusal = { index: 0, errno: 85 };
  await t.rejects(dataplane.apply(late, signal), {
    code: "netlink-failed",
    message: /before the commit, 5 times/,
  });
  await t.rejects(dataplane.apply(late, AbortSignal.abort(new Error("stopping"))), { message: "stopping" });
});

t.test("a write by another program before the guard is written is noticed", async (t) => {
  const { kernel, filterTables, converge } = world();
  await converge(two);
  let isFirst = true;
  filterTables.generation = () => {
    if (isFirst) {
      kernel.generation++;
      kernel.elements.fip_in.delete("203.0.113.1");
    }
    isFirst = false;
    return kernel.generation;
  };
  t.same(await converge(other), []);
  t.equal(kernel.elements.fip_in.size, 2);
  t.notOk(isFirst);
});

t.test("refusals: of an element, of the definition, of the whole", async (t) => {
  const { kernel, dataplane, converge } = world();
  await converge(two);
  const observed = await dataplane.observe(signal);
  const plan = dataplane.planner.plan(other, observed);
  // begin, delete in fip_in, delete in fip_out, add to fip_in, …
  kernel.refusal = { index: 3, errno: 17, offset: 16 + 28 + 4 };
  const refused = { code: "rules-refused", message: /an element of map fip_in: 203\.0\.113\.2: EEXIST/ };
  await t.rejects(dataplane.apply(plan, signal), refused);
  t.equal(await dataplane.observe(signal), observed, "nothing was changed, nothing has to be read");
  kernel.refusal = { index: 3, errno: 12 };
  await t.rejects(dataplane.apply(plan, signal), {
    code: "rules-refused",
    message: /203\.0\.113\.2: ENOMEM/,
  });
  kernel.refusal = { index: 0, errno: 1 };
  await t.rejects(dataplane.apply(plan, signal), { code: "netlink-failed", message: /EPERM/ });

  const fresh = world();
  fresh.kernel.refusal = { index: 2, errno: 95 };
  const whole = fresh.dataplane.plan(two, await fresh.dataplane.observe(signal), "open");
  const definition = { code: "rules-refused", message: /refused table ip natgw: E/ };
  await t.rejects(fresh.dataplane.apply(whole, signal), definition);
});

t.test("a table that disappeared without a commit is detected by the refusal", async (t) => {
  const { kernel, dataplane, converge } = world();
  await converge(two);
  kernel.definition.pop();
  kernel.generation++;
  const damaged = dataplane.plan(two, await dataplane.observe(signal), "open");
  kernel.definition = [];
  for (const map of mapNames) kernel.elements[map].clear();
  await t.rejects(dataplane.apply(damaged, signal), { message: /refused table ip natgw: ENOENT/ });
  t.same(await converge(two), []);
  t.equal(kernel.elements.fip_in.size, 2);
});

t.test("after a transaction with an unknown result everything is read again", async (t) => {
  const { kernel, dataplane, converge } = world();
  await converge(two);
  const plan = dataplane.plan(other, await dataplane.observe(signal), "open");
  const { converse } = kernel;
  kernel.converse = async (messages, onAnswer) => {
    await converse.call(kernel, messages, onAnswer);
    if (messages[0]?.type === batchType.begin) throw new GatewayError("netlink-failed", "no answer");
  };
  await t.rejects(dataplane.apply(plan, signal), { code: "netlink-failed" });
  kernel.converse = converse;
  kernel.asked.length = 0;
  t.same(dataplane.planner.plan(other, await dataplane.observe(signal)).changes, []);
  t.ok(kernel.asked.includes("all of fip_in"));
});

t.test("the gate closes before rules change and opens after them", async (t) => {
  const { dataplane } = world();
  const kinds = (plan: ReturnType<typeof dataplane.plan>) => plan.payload.steps.map(({ kind }) => kind);
  const closing = dataplane.plan(two, await dataplane.observe(signal), "closed");
  t.same(kinds(closing), ["filterTables", "table"]);
  await dataplane.apply(closing, signal);
  const closed = await dataplane.observe(signal);
  t.ok(dataplane.planner.isGateClosed(closed));
  t.same(kinds(dataplane.plan(two, closed, "open")), ["filterTables"]);
  const opening = dataplane.plan(other, closed, "open");
  t.same(kinds(opening), ["filterTables", "table", "filterTables", "filterTables"]);
  t.same(
    opening.changes.map(({ action, subsystem }) => `${action} ${subsystem}`),
    ["add guard", "replace rule", "remove rule", "add rule", "remove guard", "remove gate"],
    "what is guarded is so as long as it has rules",
  );
});

t.test("the connection reports each answer with the index of its message", async (t) => {
  const sent: Uint8Array[] = [];
  const waiting: Uint8Array[] = [];
  const netlink = openNetlink(12, {
    open: () => ({
      send: async (bytes) => {
        sent.push(bytes);
        const first = viewOf(bytes).getUint32(8, true);
        for (const sequence of [first - 1, first + 1, first]) waiting.push(errorMessage(sequence));
        return bytes.length;
      },
      receive: (buffer) => {
        const next = waiting.shift();
        if (next === undefined) return -11;
        buffer.set(next);
        return next.length;
      },
      close: () => undefined,
    }),
  });
  const seen: number[] = [];
  const message = { type: 1, flags: messageFlag.ack, payload: inet };
  const both = [message, { ...message, flags: 0 }];
  await netlink.converse(both, (index) => seen.push(index) === 2, signal);
  t.same(seen, [1, 0], "and what belongs to nothing that was asked is left out");
  t.equal(sent.length, 1, "in one piece");
  const flags = viewOf(sent[0] ?? new Uint8Array(64));
  t.same([flags.getUint16(6, true), flags.getUint16(26, true)], [0x5, 0x1], "with the flags that they have");
  netlink.close();
});

function errorMessage(sequence: number): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = viewOf(bytes);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, controlType.error, true);
  view.setUint32(8, sequence, true);
  return bytes;
}

t.test("the place that a refusal names", async (t) => {
  const flags = messageFlag.capped | messageFlag.ackAttributes;
  const pointed = acknowledgement(17, 76);
  t.equal(parseErrorOffset(viewOf(pointed), flags, 0, pointed.length), 76);
  t.equal(parseErrorOffset(viewOf(pointed), 0, 0, pointed.length), undefined);
  const silent = concatBytes(acknowledgement(17), textAttribute(1, "words"));
  t.equal(parseErrorOffset(viewOf(silent), flags, 0, silent.length), undefined);

  const [message] = encodeAdd(
    "snat_r",
    new Map([
      ["10.0.0.0-10.0.0.9 . 0.0.0.0", "203.0.113.1"],
      ["10.0.0.10-10.0.0.19 . 0.0.0.0", "203.0.113.2"],
    ]),
  );
  if (message === undefined) throw new Error("nothing was encoded");
  const at = text(message.payload).lastIndexOf(String.fromCharCode(message.elementBytes, 0, 1, 0));
  t.equal(keyAt(message, 16 + at), "10.0.0.10-10.0.0.19 . 0.0.0.0");
  t.equal(nextGeneration(0xffffffff), 1);
});

t.test("elements that a map cannot hold are not read and not written", async (t) => {
  for (const [map, key] of [
    ["fip_in", "203.0.113"],
    ["dnat_1", "203.0.113.1 . tcp"],
    ["dnat_1", "203.0.113.1 . x . 1"],
  ] as const)
    t.throws(() => encodeDelete(map, [key]), TypeError);
  const [message] = encodeAdd("dnat_1", new Map([["203.0.113.1 . udp . 53", "10.0.0.1 . 53"]]));
  const payload = message?.payload ?? new Uint8Array();
  for (const map of ["fip_in", "dnat_n", "snat_r"] as const)
    t.throws(() => forEachElement(map, viewOf(payload), 0, payload.length, () => undefined), {
      code: "unreadable",
    });
  const [keysOnly] = encodeDelete("fip_in", ["203.0.113.1"]);
  const bytes = keysOnly?.payload ?? new Uint8Array();
  t.throws(() => forEachElement("fip_in", viewOf(bytes), 0, bytes.length, () => undefined), {
    code: "unreadable",
  });
  const [all] = encodeDelete("snat_r", ["*", "10.0.0.1 . 0.0.0.0"]).toReversed();
  t.same(all?.keys, ["*"], "what stands for every key goes in a message of its own");
});

t.test("larger pools and further interfaces get lookups of their own, and only then", async (t) => {
  const member = (host: number): PoolMember => ({
    id: objectId("snat", `s${host}`),
    eip: ip(`203.0.113.${host}`),
    mapping: "random",
  });
  const members = (count: number): [PoolMember, ...PoolMember[]] => [
    member(1),
    ...Array.from({ length: count - 1 }, (_, at) => member(at + 2)),
  ];
  const pool = (address: string, length: number, count: number, out = "net1") => ({
    cidr: makeCidr(ip(address), length),
    interface: iface(out),
    members: members(count),
  });
  const lookups = (...pools: Program["pools"]) =>
    wantedTable({ ...emptyProgram, pools }).definition.lookups.map(
      (one) => `${one.interface} ${one.buckets}`,
    );
  t.same(lookups(), ["net1 16"]);
  t.same(lookups(pool("10.0.0.0", 24, 16)), ["net1 16"]);
  t.same(lookups(pool("10.0.0.0", 24, 17), pool("10.0.1.0", 24, 2, "net2")), [
    "net1 16",
    "net1 32",
    "net2 16",
  ]);
  t.same(
    lookups(pool("10.0.0.0", 28, 16), pool("10.0.0.0", 27, 32)),
    ["net1 16"],
    "by address where they are few",
  );
  const elements = allElements(wantedTable({ ...emptyProgram, pools: [pool("10.0.0.0", 24, 17)] }));
  t.equal(elements.snat_r.size, 32);
  t.equal(
    elements.snat_r.get("10.0.0.0-10.0.0.255 . 0.1.0.18"),
    "203.0.113.2",
    "bucket 18 goes to member 1 of 17",
  );
  t.equal(
    definitionLines(wantedTable({ ...emptyProgram, pools: [pool("10.0.0.0", 24, 17)] }).definition).length,
    1 + 7 + 3 + 9,
  );
});

t.test(
  "only clients are ranges: in a map of ranges each element costs more, the larger the map is",
  async (t) => {
    const ofRanges = mapNames.filter((name) => elementMaps[name].isInterval);
    t.same(ofRanges, ["snat_r", "snat_p"]);
  },
);

t.test("tables of other programs in the listing of nft", async (t) => {
  const listing = [
    "table ip filter {",
    "\tset listed {",
    "\t\ttype ipv4_addr",
    "\t\telements = { 198.51.100.1, 198.51.100.2,",
    "\t\t\t     203.0.113.10 }",
    "\t}",
    "",
    "\tchain INPUT { # handle 1",
    "\t\ttype filter hook input priority filter; policy accept;",
    "\t\tip saddr 203.0.113.10 drop",
    "\t\tip saddr 203.0.113.101 drop",
    "\t}",
    "}",
  ];
  const lines = parseListing(`${listing.join("\n")}\n`);
  t.same(linesNaming(lines, "203.0.113.10" as Ip), [
    "ip filter listed elements = { 198.51.100.1, 198.51.100.2, 203.0.113.10 }",
    "ip filter INPUT ip saddr 203.0.113.10 drop",
  ]);
  const table = (family: number, name: string) => {
    const payload = concatBytes(
      Uint8Array.of(family, 0, 0, 0),
      netU32Attribute(2, 0),
      textAttribute(1, name),
    );
    return foreignTable(messageType.newTable, viewOf(payload), 0, payload.length);
  };
  t.same(
    [table(2, "natgw"), table(2, "natgw_guard"), table(10, "filter")],
    [undefined, undefined, undefined],
  );
  t.same([table(1, "natgw"), table(2, "filter")], ["inet natgw", "ip filter"]);
  t.ok(isListable("ip filter"));
  t.notOk(isListable("ip x; flush ruleset"));
  const failing: Run = async () => {
    throw new GatewayError("command-failed", "nft was ended by SIGSEGV");
  };
  t.same(await listOthers(["ip filter", "ip a b"], failing, signal), [
    "ip filter (not listed: nft was ended by SIGSEGV)",
    "ip a b (nft cannot list it)",
  ]);
  const broken: Run = async () => {
    throw new Error("a bug");
  };
  await t.rejects(listOthers(["ip filter"], broken, signal), { message: "a bug" });
});
