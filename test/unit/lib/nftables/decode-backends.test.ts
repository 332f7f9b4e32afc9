/** The codec of the table of backends: what is written is read as the same, whatever is not ours is told apart. */
import t from "tap";
import { parseIp } from "../../../../lib/model/ipv4.ts";
import type { Backend, Protocol } from "../../../../lib/model/schema.ts";
import { concatBytes, netU32Attribute, textAttribute } from "../../../../lib/netlink/attributes.ts";
import type { NetlinkMessage } from "../../../../lib/netlink/message.ts";
import { backendsTable, chainText, gotoText, ruleText } from "../../../../lib/nftables/backends.ts";
import {
  BackendsReader,
  backendsDefinitionLines,
  DrawnReader,
  readableMap,
} from "../../../../lib/nftables/decode-backends.ts";
import { newPlainChain, newTable } from "../../../../lib/nftables/definition-messages.ts";
import {
  encodeBackends,
  encodeBackendsDefinition,
  encodeRule,
} from "../../../../lib/nftables/encode-backends.ts";
import { hashNumber } from "../../../../lib/nftables/expressions.ts";
import { forEachVerdict } from "../../../../lib/nftables/verdicts.ts";
import { inetHeader, messageType, tableAttribute } from "../../../../lib/nftables/wire.ts";

function backend(host: number, port = 80): Backend {
  const ip = parseIp(`10.0.1.${host}`);
  if (ip === undefined) throw new Error("not an address");
  return { ip, port };
}

function parts({ type, payload }: NetlinkMessage) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return [type, view, 0, payload.length] as const;
}

function read(messages: readonly NetlinkMessage[]): BackendsReader {
  const reader = new BackendsReader();
  for (const message of messages) reader.read(...parts(message));
  return reader;
}

const isElements = ({ type }: NetlinkMessage) => type === messageType.newElements;
const chain = "dnat-203.0.113.10-tcp-80";

/** As the kernel would tell it, but for the name of the map. */
function told(
  protocol: Protocol,
  backends: readonly Backend[],
  drawn: readonly Backend[] = backends,
  isSticky = false,
): string {
  const rule = encodeRule(chain, { protocol, backends, isSticky }, 2);
  const reader = read([newTable(backendsTable), newPlainChain(chain, backendsTable), ...rule]);
  const elements = new DrawnReader();
  for (const message of encodeRule(chain, { protocol, backends: drawn }, 2).filter(isElements))
    elements.read(...parts(message));
  return reader.chains(new Map([["__map%d", elements.drawn]])).get(chain) ?? "";
}

t.test("a rule is read as it was written, and as nft lists it", async (t) => {
  for (const protocol of ["tcp", "udp", "sctp"] as const)
    for (const count of [1, 2, 256]) {
      const backends = Array.from({ length: count }, (_, host) => backend(host));
      t.equal(told(protocol, backends), ruleText({ protocol, backends }));
      const sticky = { protocol, backends, isSticky: true };
      t.equal(told(protocol, backends, backends, true), ruleText(sticky), "by the client's address");
    }
  t.equal(
    ruleText({ protocol: "tcp", backends: [backend(1), backend(2, 81)] }),
    "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.0.1.1 . 80, 1 : 10.0.1.2 . 81 }",
  );
  t.equal(
    ruleText({ protocol: "tcp", backends: [backend(1), backend(2, 81)], isSticky: true }),
    "meta l4proto tcp dnat ip to jhash ip saddr mod 2 seed 0x1 map { 0 : 10.0.1.1 . 80, 1 : 10.0.1.2 . 81 }",
  );
  t.match(
    chainText(chain, { protocol: "udp", backends: Array.from({ length: 9 }, (_, host) => backend(host)) }),
    "3 : 10.0.1.3 . 80, … 5 more }",
  );
});

t.test("the hash of an address is told as the kernel tells it", async (t) => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  // Dumps of rules that nft 1.0.6 made, Linux 6.18: `jhash ip saddr mod 2 seed 0x1`, and the same with `offset 0x80020000`.
  const head = "0800010000000002080002000000000108000300000000040800040000000002080005000000000108000";
  t.equal(hex(hashNumber(2, 1, 2, 0)), `4400010009000100686173680000000034000200${head}70000000000`);
  t.equal(
    hex(hashNumber(2, 1, 2, 0x8002_0000)),
    `4c0001000900010068617368000000003c000200${head}600800200000800070000000000`,
  );
});

t.test("a rule that draws from another number of backends is none of ours", async (t) => {
  const two = [backend(1), backend(2)];
  t.notMatch(told("tcp", two, two.slice(1)), "numgen random");
  t.notMatch(told("tcp", two, []), "numgen random");
});

t.test("the definition: chains of DNATs and their maps do not count, all else does", async (t) => {
  const definition = encodeBackendsDefinition();
  const rule = encodeRule(chain, { protocol: "tcp", backends: [backend(1)] }, 2);
  t.same(
    read([...definition, newPlainChain(chain, backendsTable), ...rule]).definition,
    backendsDefinitionLines(),
  );
  const lines = backendsDefinitionLines();
  t.equal(readableMap(lines), "dnat_backends");
  const other = lines.map((line) => line.replace(/^map 2=[0-9a-f]+ /, "map 2=736572766963652d69707300 "));
  t.equal(readableMap(other), "service-ips", "of Kube-OVN's script");
  const maps = other.filter((line) => line.startsWith("map "));
  const third = maps.map((line) => line.replace("2=7365", "2=6365"));
  t.equal(readableMap([...other, ...third]), undefined, "one of several is not chosen");
  t.equal(readableMap(other.map((line) => line.replace(/ 5=[0-9a-f]+/, " 5=00000004"))), undefined);
  t.equal(read([]).definition, undefined);
  t.notSame(read(definition.slice(0, -1)).definition, backendsDefinitionLines(), "without its rule");
  t.notSame(
    read([...definition, ...definition.slice(-1)]).definition,
    backendsDefinitionLines(),
    "with it twice",
  );
  t.equal(readableMap(read(definition.slice(0, 1)).definition ?? []), undefined);
  t.equal(read([newTable("other")]).definition, undefined, "another table");
  const using = (use: number) => {
    const name = textAttribute(tableAttribute.name, backendsTable);
    const attributes = [
      name,
      netU32Attribute(tableAttribute.flags, 0),
      netU32Attribute(tableAttribute.use, use),
    ];
    const table = { type: messageType.newTable, flags: 0, payload: concatBytes(inetHeader, ...attributes) };
    return read([table, ...definition.slice(1), newPlainChain(chain, backendsTable), ...rule]).definition;
  };
  t.same(using(3), backendsDefinitionLines(), "a kernel that does not count maps without a name");
  t.same(using(4), backendsDefinitionLines(), "one that does");
  t.notSame(using(5), backendsDefinitionLines(), "a flowtable");
});

t.test("verdicts are read as they were written", async (t) => {
  const add = new Map([
    ["203.0.113.10 . tcp . 80", "dnat-203.0.113.10-tcp-80"],
    ["203.0.113.10 . sctp . 65535", "dnat-203.0.113.10-sctp-65535"],
  ]);
  const nothing = { definition: undefined, remove: [], drop: [], write: new Map(), add: new Map() };
  const [message] = encodeBackends({ ...nothing, add });
  const [removal] = encodeBackends({ ...nothing, remove: [...add.keys(), "*"] });
  if (message === undefined || removal === undefined) throw new Error("nothing was encoded");
  const [, view, start, end] = parts(message);
  const read = new Map<string, string>();
  forEachVerdict(view, start, end, (key, verdict) => read.set(key, verdict));
  t.same(
    [...read],
    Array.from(add, ([key, name]) => [key, gotoText(name)]),
  );
  const removed: string[] = [];
  const [, keys, from, to] = parts(removal);
  forEachVerdict(keys, from, to, (key) => removed.push(key));
  t.same(removed, [...add.keys(), "*"]);
  t.throws(() => forEachVerdict(view, start, end - 3, () => undefined), { code: "unreadable" });
  const many = new Map(Array.from({ length: 1_000 }, (_, port) => [`203.0.113.10 . tcp . ${port}`, chain]));
  for (const { payload } of encodeBackends({ ...nothing, add: many })) t.ok(payload.length < 65_536);
});
