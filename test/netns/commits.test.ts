/** The commit journal on a real kernel. This process moves into its own namespace. */
import t from "tap";
import { readGeneration } from "../../agent/kernel/nftables/transaction.ts";
import { sweep } from "../support/namespaces.ts";
import { enterNftNamespace } from "../support/nft-namespace.ts";
import { run } from "../support/run.ts";

const signal = new AbortController().signal;

await sweep();
const { netlink, journal } = await enterNftNamespace(t, "commits");

const nft = (input: string) => run("nft", ["-f", "-"], { input });
const elements = (from: number, count: number) =>
  Array.from(
    { length: count },
    (_, at) => `10.${(from + at) >> 8}.${(from + at) & 255}.1 : 203.0.113.1`,
  ).join();

/**
 * Restarts the journal.
 * @returns the generation from which it is complete
 */
async function begin(): Promise<number> {
  journal.restart();
  const beginReading = journal.beginReading();
  const generation = await readGeneration(netlink, signal);
  beginReading(generation);
  return generation;
}

function touched(generation: number) {
  const commit = journal.since(generation);
  return (
    commit && {
      commits: commit.generation - generation,
      tables: [...commit.tables].map(([label, { isRemade, growth, keys }]) => [
        label,
        isRemade,
        [...growth],
        [...keys].map(([map, some]) => [map, some.size]),
      ]),
    }
  );
}

await nft(`table ip natgw {
  map fip_in { type ipv4_addr : ipv4_addr; counter; }
  map snat_r { type ipv4_addr . ipv4_addr : ipv4_addr; flags interval; counter; }
  chain pre { type nat hook prerouting priority dstnat; }
}`);

t.test("commits are reported in order, each with what it changed", async (t) => {
  const start = await begin();
  t.same(touched(start), { commits: 0, tables: [] });
  await nft(`add element ip natgw fip_in { ${elements(0, 3)} }`);
  t.same(touched(start), { commits: 1, tables: [["ip natgw", false, [], [["fip_in", 3]]]] });
  await nft("add element ip natgw snat_r { 10.0.0.0-10.0.0.255 . 0.0.0.0-0.0.0.15 : 203.0.113.1 }");
  await nft("flush map ip natgw snat_r");
  for (const rule of ["-A POSTROUTING -s 192.0.2.1 -j RETURN", "-I POSTROUTING -s 192.0.2.2 -j RETURN"])
    await run("iptables-nft", ["-t", "nat", ...rule.split(" ")]);
  const before = await readGeneration(netlink, signal);
  await run("iptables-nft", ["-t", "nat", "-D", "POSTROUTING", "1"]);
  t.same(touched(before), { commits: 1, tables: [["ip nat", false, [["POSTROUTING", -1]], []]] });
  for (const [input, growth] of [
    ["flush table ip natgw", []],
    ["add rule ip natgw pre accept", [["pre", 1]]],
    ["flush table ip natgw", [["pre", -1]]],
  ] as const) {
    const generation = await readGeneration(netlink, signal);
    await nft(input);
    t.same(
      touched(generation)?.tables ?? [],
      growth.length === 0 ? [] : [["ip natgw", false, growth, []]],
      input,
    );
  }
  for (const input of [
    "add chain ip natgw other",
    "add chain ip natgw pre { policy drop; }",
    "delete map ip natgw snat_r",
    "delete table ip natgw",
    "add table ip natgw",
    "flush ruleset",
  ]) {
    const generation = await readGeneration(netlink, signal);
    await nft(input);
    const { tables = [] } = touched(generation) ?? {};
    t.ok(
      tables.some(([label, isRemade]) => label === "ip natgw" && isRemade),
      input,
    );
  }
  const end = await readGeneration(netlink, signal);
  t.same(touched(end), { commits: 0, tables: [] });
  t.equal(journal.since(start), undefined, "what was before");
});

t.test("commits lost by an overrun are unknown, and so are those before the restart", async (t) => {
  await nft("table ip natgw { map fip_in { type ipv4_addr : ipv4_addr; counter; }; }");
  const start = await begin();
  for (let round = 0; round < 2; round++) {
    await nft(`add element ip natgw fip_in { ${elements(0, 60_000)} }`);
    await nft("flush map ip natgw fip_in");
  }
  t.equal(journal.since(start), undefined);
  const now = await readGeneration(netlink, signal);
  t.equal(journal.since(now), undefined, "nor is what comes after it");
  const anew = await begin();
  t.same(touched(anew), { commits: 0, tables: [] });
  await nft(`add element ip natgw fip_in { ${elements(0, 3)} }`);
  t.same(touched(anew), { commits: 1, tables: [["ip natgw", false, [], [["fip_in", 3]]]] });
});
