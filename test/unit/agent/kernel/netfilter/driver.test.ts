/** What the driver reads of netfilter besides the agent's rules. Unchanged tables are not read again. */
import t from "tap";
import { createNetfilterDriver } from "../../../../../agent/kernel/netfilter/driver.ts";
import type {
  ConversingConnection,
  NetlinkConnection,
} from "../../../../../agent/kernel/netlink/connection.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import {
  bytesAttribute,
  concatBytes,
  netU32Attribute,
  textAttribute,
} from "../../../../../lib/netlink/attributes.ts";
import { xfrmType } from "../../../../../lib/netlink/xfrm-policies.ts";
import {
  chainAttribute,
  hookAttribute,
  messageType,
  NFTA_GEN_ID,
  ruleAttribute,
  tableAttribute,
} from "../../../../../lib/nftables/wire.ts";
import { encodePolicy, policyOf } from "../../../../support/policies.ts";

const refusal = (code: string) => new GatewayError("netlink-failed", "refused", { details: { code } });

const signal = new AbortController().signal;

interface World {
  generation: number;
  /** Names of tables of the family ip; each has one chain on the hook forward. */
  tables: string[];
  /** Of every table. */
  tableHandle: number;
  rules: readonly number[];
  listing: string;
  legacy: Record<string, string>;
  digest: string;
  failure?: GatewayError;
  policies: readonly Uint8Array[];
  /** `struct xfrm_userpolicy_default` */
  defaults: Uint8Array<ArrayBuffer>;
  policyFailure?: GatewayError;
  defaultsFailure?: GatewayError;
  policyDumps: number;
}

const header = Uint8Array.of(2, 0, 0, 0);
const listing = (rule: string) =>
  `table ip other {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy accept;\n\t\t${rule}\n\t}\n}\n`;

function open(given: Partial<World>) {
  const world: World = {
    generation: 7,
    tables: ["natgw", "other"],
    tableHandle: 1,
    rules: [1],
    listing: listing("drop # handle 1"),
    legacy: {},
    digest: "",
    policies: [],
    defaults: Uint8Array.of(2, 2, 2, 0),
    policyDumps: 0,
    ...given,
  };
  const commands: string[] = [];
  const dumps: number[] = [];
  const answers = (type: number): readonly (readonly [number, Uint8Array])[] => {
    const each = (make: (name: string) => Uint8Array, of: number) =>
      world.tables.map((name) => [of, concatBytes(header, make(name))] as const);
    const hook = concatBytes(
      netU32Attribute(hookAttribute.number, 2),
      netU32Attribute(hookAttribute.priority, -5 >>> 0),
    );
    switch (type) {
      case messageType.getTable:
        return each(
          (name) =>
            concatBytes(
              textAttribute(tableAttribute.name, name),
              bytesAttribute(tableAttribute.handle, new Uint8Array(8).with(7, world.tableHandle)),
            ),
          messageType.newTable,
        );
      case messageType.getChain:
        return each(
          (name) =>
            concatBytes(
              textAttribute(chainAttribute.table, name),
              textAttribute(chainAttribute.name, "c"),
              bytesAttribute(chainAttribute.hook, hook),
              netU32Attribute(chainAttribute.policy, 1),
              textAttribute(chainAttribute.type, "filter"),
            ),
          messageType.newChain,
        );
      default:
        return world.rules.map((handle) => {
          const number = new Uint8Array(8).with(7, handle);
          return [messageType.newRule, concatBytes(header, bytesAttribute(ruleAttribute.handle, number))];
        });
    }
  };
  const netlink = {
    async converse(_messages: unknown, onAnswer: (...answer: readonly unknown[]) => boolean) {
      if (world.failure !== undefined) throw world.failure;
      const payload = concatBytes(header, netU32Attribute(NFTA_GEN_ID, world.generation));
      onAnswer(0, { type: messageType.newGeneration }, new DataView(payload.buffer), 0, payload.length);
    },
    async dump({ type }: { type: number }, onMessage: (...message: readonly unknown[]) => void) {
      dumps.push(type);
      for (const [answer, payload] of answers(type))
        onMessage(answer, new DataView(payload.buffer), 0, payload.length);
    },
  } as unknown as ConversingConnection;
  const policyNetlink = {
    async dump(_request: unknown, onMessage: (...message: readonly unknown[]) => void) {
      world.policyDumps++;
      if (world.policyFailure !== undefined) throw world.policyFailure;
      for (const payload of world.policies)
        onMessage(xfrmType.newPolicy, new DataView(payload.buffer, payload.byteOffset), 0, payload.length);
    },
    async converse(_messages: unknown, onAnswer: (...answer: readonly unknown[]) => boolean) {
      if (world.defaultsFailure !== undefined) throw world.defaultsFailure;
      onAnswer(0, { type: xfrmType.getDefaults }, new DataView(world.defaults.buffer), 0, 4);
    },
  } as unknown as ConversingConnection;
  const driver = createNetfilterDriver({
    netlink,
    // No devices.
    routeNetlink: { async dump() {} } as unknown as NetlinkConnection,
    policyNetlink,
    run: async (argv) => {
      commands.push(argv.join(" "));
      const stdout = argv[0] === "nft" ? world.listing : (world.legacy[argv.at(-1) ?? ""] ?? "");
      return { exitCode: 0, stdout, stderr: "" };
    },
    legacy: { names: async () => Object.keys(world.legacy), digest: async () => world.digest },
    backend: () => "iptables-legacy",
  });
  const read = async () => {
    commands.splice(0);
    dumps.splice(0);
    return driver.observe(signal);
  };
  return { world, commands, dumps, read, driver };
}

t.test("chains of others, and what makes every chain effective", async (t) => {
  const { read, commands } = open({});
  const { chains, foreign } = await read();
  t.match(chains, [
    { table: "ip natgw", targets: [] },
    {
      table: "ip other",
      name: "c",
      hook: { name: "forward", type: "filter", priority: -5, policy: "accept" },
    },
  ]);
  t.match(foreign, [{ place: "nft ip other", name: "c", rules: [{ text: "drop" }] }]);
  t.same(commands, ["nft -s -a list table ip other"], "the agent's own is not listed");
});

t.test(
  "a table that was made again is read again, though its chains and handles look the same",
  async (t) => {
    const { world, read } = open({});
    await read();
    world.generation++;
    world.tableHandle = 2;
    world.listing = listing("accept # handle 1");
    t.match((await read()).foreign, [{ rules: [{ text: "accept" }] }]);
  },
);

t.test("unchanged tables are not read again", async (t) => {
  const { world, read, commands, dumps } = open({});
  const first = await read();
  t.equal(await read(), first);
  t.same([commands.length, dumps.length], [0, 0], "the generation says so");
  world.generation++;
  t.equal(await read(), first, "the agent's own writes move it, too");
  t.same(commands, [], "the handles say that the rules of others are the same");
  world.generation++;
  world.rules = [1, 2];
  world.listing = listing("accept # handle 2");
  t.match((await read()).foreign, [{ rules: [{ text: "accept" }] }]);
  world.listing = listing("ip saddr @bad drop # handle 3");
  world.rules = [3];
  world.generation++;
  await read();
  world.generation++;
  await read();
  t.equal(commands.length, 1, "elements of sets come and go without a rule");
});

t.test("a table with elements that come and go by themselves is read each time", async (t) => {
  const timed = (elements: string) =>
    `table ip other { # handle 1\n\tset bad { # handle 3\n\t\ttype ipv4_addr\n\t\tflags timeout\n${elements}\t}\n${listing("ip saddr @bad drop # handle 2").split("\n").slice(1).join("\n")}`;
  const { world, read } = open({ listing: timed("\t\telements = { 192.0.2.1 }\n") });
  const ranges = async () =>
    (await read()).foreign.flatMap(({ rules }) =>
      rules.flatMap(({ tests }) => tests.flatMap((test) => ("ranges" in test ? test.ranges : []))),
    );
  t.same(await ranges(), [[3_221_225_985, 3_221_225_985]]);
  world.listing = timed("");
  t.same(await ranges(), []);
});

t.test("a table that changes all the time, and one that no tool can list", async (t) => {
  const restless = open({});
  Object.defineProperty(restless.world, "generation", { get: () => Math.random() * 1e9 });
  await t.rejects(restless.read(), { code: "netlink-failed" });
  const { read } = open({ tables: ["what is this"] });
  t.match((await read()).foreign, [{ rules: [{ effect: { kind: "unclear" } }] }]);
});

t.test("a truncated listing is not used and read again", async (t) => {
  const cut = listing("drop # handle 1").slice(0, 50);
  const { world, read, commands } = open({ listing: cut });
  t.match((await read()).foreign, [{ rules: [{ effect: { kind: "unclear" } }] }]);
  world.listing = listing("drop # handle 1");
  t.match((await read()).foreign, [{ rules: [{ text: "drop" }] }]);
  t.equal(commands.length, 1);
});

t.test("a table of another program may be named like the agent's", async (t) => {
  const { read, commands } = open({ tables: ["natgw_guard", "natgw_other"] });
  t.match((await read()).foreign, [{ place: "nft ip natgw_other" }]);
  t.same(commands, ["nft -s -a list table ip natgw_other"]);
});

t.test("legacy tables", async (t) => {
  const legacy = {
    nat: "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n",
    filter: "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n",
  };
  const failure = new GatewayError("netlink-failed", "refused", { details: { code: "EINVAL" } });
  const { world, read, commands } = open({ legacy, digest: "1", failure });
  const first = await read();
  t.match(
    first.foreign,
    [{ place: "iptables-legacy -t filter", hook: { policy: "drop" } }],
    "also without nf_tables",
  );
  t.same(commands, ["iptables-legacy-save -t filter"], "NAT is read with the agent's rules");
  t.equal(await read(), first);
  t.same(commands, []);
  world.digest = "2";
  world.legacy = { filter: "*filter\n:FORWARD ACCEPT [0:0]\n" };
  await t.rejects(read(), { code: "unreadable" }, "cut short");
  world.legacy = { filter: "" };
  await t.rejects(read(), { code: "unreadable" }, "nothing is not an empty table");
  world.legacy = { filter: "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n" };
  t.match((await read()).foreign, [{ hook: { policy: "accept" } }]);
});

t.test("IPsec policies", async (t) => {
  const policies = [encodePolicy(policyOf("fwd 10.0.0.0/8 > 0.0.0.0/0"))];
  const { world, read } = open({ policies });
  const first = await read();
  t.match(first.foreign.at(-1), {
    place: "ip xfrm policy",
    rules: [{ text: "src 10.0.0.0/8 dst 0.0.0.0/0 dir fwd action block priority 0" }],
  });
  t.equal(await read(), first, "nothing changed");
  world.policies = [];
  t.equal((await read()).foreign.length, first.foreign.length - 1);
  world.defaults = Uint8Array.of(2, 1, 2, 0);
  t.match((await read()).foreign.at(-1), { rules: [{ text: "setdefault fwd block" }] });
  world.defaultsFailure = refusal("EINVAL");
  t.equal((await read()).foreign.length, first.foreign.length - 1, "a kernel that knows no default");
});

t.test("IPsec policies that cannot be read, and a kernel without any", async (t) => {
  const { world, read, driver } = open({ policyFailure: refusal("ENOBUFS") });
  await t.rejects(read(), { code: "netlink-failed" }, "they are not taken for none");
  delete world.policyFailure;
  world.defaultsFailure = refusal("ENOBUFS");
  await t.rejects(read(), { code: "netlink-failed" });
  world.defaultsFailure = refusal("EPERM");
  t.match((await read()).foreign.at(-1), { rules: [{ text: "cannot be read: EPERM" }] });
  delete world.defaultsFailure;
  world.policyFailure = refusal("EACCES");
  t.match(
    (await read()).foreign.at(-1),
    { place: "ip xfrm policy", rules: [{ text: "cannot be read: EACCES", effect: { kind: "unclear" } }] },
    "that does not stop the rest",
  );
  world.policyFailure = refusal("EPROTONOSUPPORT");
  const before = world.policyDumps;
  t.equal((await read()).foreign.length, 1);
  await read();
  t.equal(world.policyDumps, before + 1, "not asked again");
  driver.forget?.();
  await read();
  t.equal(world.policyDumps, before + 2, "unless all is read anew");
});
