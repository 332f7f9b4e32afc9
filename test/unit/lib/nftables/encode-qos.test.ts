/** The codec of the table of rate limits: what is written is read as the same, what is not ours is told apart. */
import t from "tap";
import type { Cidr } from "../../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";
import type { NetlinkMessage } from "../../../../lib/netlink/message.ts";
import { readCounters } from "../../../../lib/nftables/counters.ts";
import { forEachClass, forEachLimit, readableQosSets } from "../../../../lib/nftables/decode-qos.ts";
import { qosRulesIn } from "../../../../lib/nftables/decode-qos-rules.ts";
import { linesOf } from "../../../../lib/nftables/definition-lines.ts";
import { encodeQos, encodeQosDefinition, qosDefinitionLines } from "../../../../lib/nftables/encode-qos.ts";
import { limitText, parseLimitText, type QosDefinition, qosTable } from "../../../../lib/nftables/qos.ts";
import { messageType } from "../../../../lib/nftables/wire.ts";

const [vpc, external] = ["eth0", "net1"] as InterfaceName[] as [InterfaceName, InterfaceName];
const definition: QosDefinition = {
  maps: ["eips_0", "eips_1"],
  sets: ["over_0"],
  rules: [
    {
      out: external,
      in: undefined,
      address: undefined,
      match: { network: undefined, verdict: { class: 0x10002 } },
    },
    {
      out: external,
      in: undefined,
      address: { side: "destination", isBeforeNat: false },
      match: { network: "198.51.100.0/24" as Cidr, verdict: { over: { rate: 125, burst: 131_072 } } },
    },
    {
      out: external,
      in: undefined,
      address: { side: "source", isBeforeNat: false },
      match: { map: "eips_0" },
    },
    { out: vpc, in: external, address: { side: "destination", isBeforeNat: true }, match: { map: "eips_1" } },
    { out: vpc, in: external, address: { side: "destination", isBeforeNat: true }, match: { set: "over_0" } },
  ],
};

function parts({ payload }: NetlinkMessage) {
  return [new DataView(payload.buffer, payload.byteOffset, payload.byteLength), 0, payload.length] as const;
}

t.test("each part of a definition is seen, and a rule about addresses before NAT is two", async (t) => {
  const lines = qosDefinitionLines(definition);
  const kinds = lines.map((line) => line.slice(0, line.indexOf(" ")));
  t.strictSame(kinds, ["table", "chain", "map", "map", "map", ...Array(7).fill("rule")]);
  t.equal(new Set(lines).size, lines.length);
  for (const [at] of definition.rules.entries())
    t.notSame(qosDefinitionLines({ ...definition, rules: definition.rules.toSpliced(at, 1) }), lines);
  t.notSame(
    qosDefinitionLines({ ...definition, rules: definition.rules.toReversed() }),
    lines,
    "the last rule decides",
  );
  t.same(linesOf(encodeQosDefinition(definition), qosTable), lines);
  const [original, reply] = lines.filter((line) => line.includes("lookup(1=656970735f3100"));
  t.match(original, "ct(1=00000001 2=00000001) cmp(1=00000001 2=00000000 3=0500010000000000)");
  t.match(original, "ct(1=00000001 2=00000014 3=00)", "the destination of the first packet of a flow");
  t.match(reply, "ct(1=00000001 2=00000014 3=01)", "the destination of answers");
});

t.test("only elements of maps and sets that are ours are read", async (t) => {
  const lines = qosDefinitionLines(definition);
  t.strictSame(readableQosSets(lines), [
    { name: "eips_0", isMap: true },
    { name: "eips_1", isMap: true },
    { name: "over_0", isMap: false },
  ]);
  const foreign = lines.map((line) => line.replace(" 4=00000007 ", " 4=0000000d "));
  t.strictSame(readableQosSets(foreign), []);
});

t.test("elements are read as they were written, however many", async (t) => {
  const eips = Array.from({ length: 1_000 }, (_, at) => `203.0.${at >> 8}.${at & 255}`);
  const classes = new Map(eips.map((ip, at) => [ip, `1:${(at + 16).toString(16)}`]));
  const limits = new Map(eips.map((ip, at) => [ip, limitText({ rate: 125 + at, burst: 131_072 })]));
  const add = new Map([
    ["eips_0", classes],
    ["over_0", limits],
  ]);
  const read = { eips_0: new Map<string, string>(), over_0: new Map<string, string>() };
  const messages = encodeQos({ definition: undefined, remove: new Map(), add });
  t.equal(messages.length, 6, "a list is shorter than 64 KiB");
  for (const [at, message] of messages.entries()) {
    t.equal(message.type, messageType.newElements);
    if (at < 3) forEachClass(...parts(message), (ip, text) => read.eips_0.set(ip, text));
    else forEachLimit(...parts(message), (ip, text) => read.over_0.set(ip, text));
  }
  t.same(read.eips_0, classes);
  t.same(read.over_0, limits);
  t.same(parseLimitText(limitText({ rate: 5, burst: 7 })), { rate: 5, burst: 7 });
});

t.test("a transaction deletes before it adds, and replaces the table if it says so", async (t) => {
  const types = (definitionChange: Parameters<typeof encodeQos>[0]["definition"]) =>
    encodeQos({
      definition: definitionChange,
      remove: new Map([["eips_0", ["203.0.113.1"]]]),
      add: new Map([["eips_0", new Map([["203.0.113.1", "1:10"]])]]),
    }).map(({ type }) => type);
  const { newElements, deleteElements, deleteTable, newTable } = messageType;
  t.strictSame(types(undefined), [deleteElements, newElements]);
  t.equal(types({ make: definition, isReplaced: true })[0], deleteTable);
  t.equal(types({ make: definition, isReplaced: false })[0], newTable);
  t.equal(types({ make: undefined, isReplaced: true })[1], deleteElements);
});

t.test("a rule that drops counts what it drops, where it has a counter", async (t) => {
  const links = [vpc, external];
  const over = (counter?: "policy_egress" | "policy_ingress"): QosDefinition => ({
    maps: [],
    sets: ["over_0"],
    rules: definition.rules
      .filter(({ match }) => "set" in match || ("verdict" in match && "over" in match.verdict))
      .map((rule) => ({ ...rule, ...(counter !== undefined && { counter }) })),
  });
  for (const wanted of [over(), over("policy_egress"), over("policy_ingress")]) {
    const lines = qosDefinitionLines(wanted);
    const { rules, unknown } = qosRulesIn(lines, readableQosSets(lines), links);
    t.equal(unknown, 0);
    t.strictSame(rules, wanted.rules, "an import reads each");
  }
  const lines = qosDefinitionLines(over("policy_egress"));
  t.equal(lines.filter((line) => line.startsWith("object ")).length, 1);
  t.equal(lines.filter((line) => line.includes("objref(")).length, 3);
  const counts = new Map([["policy_egress" as const, { packets: 7, bytes: 500 }]]);
  const read = new Map();
  for (const message of encodeQosDefinition(over("policy_egress"), counts))
    readCounters(message.type, ...parts(message), qosTable, read);
  t.same(read, counts, "a table that is made again goes on");
});
