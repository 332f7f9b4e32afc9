/** The iptables dataplane on a real kernel, in both variants, each in its own namespace. */

import t from "tap";
import { ExampleAppender } from "../../agent/kernel/iptables/append-by-example.ts";
import type { IptablesDriverOptions } from "../../agent/kernel/iptables/driver.ts";
import { readLegacyDigest } from "../../agent/kernel/iptables/legacy-digest.ts";
import { removeByHandle } from "../../agent/kernel/iptables/remove-by-handle.ts";
import { listChain, type Variant } from "../../agent/kernel/iptables/tools.ts";
import { chooseVariant } from "../../agent/kernel/iptables/variant.ts";
import { FilterTables } from "../../agent/kernel/nftables/filter-tables.ts";
import { openNftables, readGeneration } from "../../agent/kernel/nftables/transaction.ts";
import { createRun, type Run } from "../../agent/kernel/run.ts";
import { parseRule } from "../../lib/iptables/parse-rule.ts";
import { removalsOf } from "../../lib/iptables/removals.ts";
import { parseChain, type RuleDump } from "../../lib/iptables/save.ts";
import { ipv4 } from "../../lib/model/ipv4.ts";
import { objectId } from "../../lib/model/names.ts";
import type { PoolMember, Program, SnatPool } from "../../lib/model/program.ts";
import type { GateState } from "../../lib/plan/gate-state.ts";
import { editsByHandle, editsByTool } from "../../lib/plan/iptables/chain.ts";
import { wantedNat } from "../../lib/plan/iptables/layout.ts";
import { planTable } from "../../lib/plan/iptables/table.ts";
import { cidr, emptyProgram, iface, ip } from "../property/lib/plan/iptables/programs.ts";
import { enterNamespace } from "../support/enter-namespace.ts";
import { inNamespace } from "../support/in-namespace.ts";
import { addNamespaces, deleteNamespaces, sweep, testName } from "../support/namespaces.ts";
import { enterNftNamespace, openNftablesIn } from "../support/nft-namespace.ts";
import { iptablesRules } from "../support/rules.ts";

const signal = new AbortController().signal;

/** One variant in one namespace, with the tools that an operator would use. */
class Lab {
  readonly run: Run;
  readonly variant: Variant;
  readonly dataplane: ReturnType<typeof iptablesRules>;
  readonly forks: string[] = [];
  readonly tables: FilterTables | undefined;

  constructor(namespace: string, variant: Variant, options: Partial<IptablesDriverOptions> = {}) {
    this.variant = variant;
    this.run = createRun({
      prefix: inNamespace(namespace, []),
      onStart: (command) => this.forks.push(command),
    });
    // With legacy, guard and gate are chains, as on a system without nft.
    this.tables = variant === "nft" ? new FilterTables(openNftablesIn(namespace)) : undefined;
    this.dataplane = iptablesRules({
      run: this.run,
      variant,
      filterTables: async () => this.tables,
      ...options,
    });
  }

  observe() {
    return this.dataplane.observe(signal);
  }

  /**
   * Programs `program`. Throws unless everything is there and a second plan is empty.
   *
   * @returns the changes made, without those of the guard
   */
  async converge(program: Program, gate: GateState = "open"): Promise<readonly string[]> {
    const plan = this.dataplane.plan(program, await this.observe(), gate);
    await this.dataplane.apply(plan, signal);
    const after = await this.observe();
    const again = this.dataplane.plan(program, after, gate);
    if (again.changes.length > 0) throw new Error(`not converged: ${JSON.stringify(again.changes)}`);
    const missing = this.dataplane.planner.missing(program, after);
    if (missing.size > 0) throw new Error(`missing: ${JSON.stringify([...missing])}`);
    return plan.changes.filter(({ subsystem }) => subsystem !== "guard").map(({ text }) => text);
  }

  /** Runs `iptables-… -t nat …` like an operator. */
  async iptables(args: string): Promise<void> {
    await this.run([`iptables-${this.variant}`, "--wait", ...args.split(" ")]);
  }

  /** Rule and chain lines of one table, as iptables-save prints them. */
  async lines(table: string, chain = ""): Promise<readonly string[]> {
    const { stdout } = await this.run([`iptables-${this.variant}-save`, "-t", table]);
    return stdout.split("\n").filter((line) => line.startsWith(`-A ${chain}`));
  }
}

const eip = (n: number) => ({
  id: objectId("eip", `e${n}`),
  address: ip(`203.0.113.${n}`),
  prefixLength: 24,
  interface: iface("net1"),
});
const fip = (n: number, internal: string) => ({
  id: objectId("fip", `f${n}`),
  eip: ip(`203.0.113.${n}`),
  internalIp: ip(internal),
  isOutward: true,
});
const member = (n: number, mapping: "random" | "preserve" = "random"): PoolMember => ({
  id: objectId("snat", `s${n}`),
  eip: ip(`203.0.113.${n}`),
  mapping,
});
const pool = (text: string, first: PoolMember, ...rest: readonly PoolMember[]): SnatPool => ({
  cidr: cidr(text),
  interface: iface("net1"),
  members: [first, ...rest],
});
const backend = (host: number, port: number) => ({ ip: ip(`10.0.1.${host}`), port });

const full: Program = {
  ...emptyProgram,
  eips: [eip(1), eip(2)],
  fips: [fip(1, "10.0.1.5"), { ...fip(2, "10.0.1.5"), isOutward: false }],
  dnats: [
    {
      id: objectId("dnat", "web"),
      eip: ip("203.0.113.3"),
      protocol: "tcp",
      externalPort: 80,
      backends: [backend(6, 8080)],
    },
    {
      id: objectId("dnat", "dns"),
      eip: ip("203.0.113.3"),
      protocol: "udp",
      externalPort: 53,
      backends: [backend(7, 53), backend(8, 54), backend(9, 55)],
    },
    {
      id: objectId("dnat", "diameter"),
      eip: ip("203.0.113.3"),
      protocol: "sctp",
      externalPort: 3868,
      backends: [backend(7, 3868), backend(8, 3868)],
    },
  ],
  pools: [
    pool("10.0.1.128/30", member(3), member(4)),
    pool("10.0.2.0/24", member(5), member(6, "preserve"), member(7)),
    pool("10.0.0.0/16", member(8, "preserve")),
    pool("0.0.0.0/0", member(9)),
  ],
};

/** What Kube-OVN's tools expect to read, line by line. */
const fullLayout = [
  "-A PREROUTING -j DNAT_FILTER",
  "-A POSTROUTING -j SNAT_FILTER",
  "-A DNAT_FILTER -j EXCLUSIVE_DNAT",
  "-A DNAT_FILTER -j SHARED_DNAT",
  "-A EXCLUSIVE_DNAT -d 203.0.113.1/32 -j DNAT --to-destination 10.0.1.5",
  "-A EXCLUSIVE_DNAT -d 203.0.113.2/32 -j DNAT --to-destination 10.0.1.5",
  "-A EXCLUSIVE_SNAT -s 10.0.1.5/32 -j SNAT --to-source 203.0.113.1",
  "-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst 203.0.113.1 -j SNAT --to-source 203.0.113.1 --random-fully",
  "-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst 203.0.113.2 -j SNAT --to-source 203.0.113.2 --random-fully",
  "-A SHARED_DNAT -d 203.0.113.3/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.6:8080",
  "-A SHARED_DNAT -d 203.0.113.3/32 -p udp -m statistic --mode random --probability 0.33333333349 -m udp --dport 53 -j DNAT --to-destination 10.0.1.7:53",
  "-A SHARED_DNAT -d 203.0.113.3/32 -p udp -m statistic --mode random --probability 0.50000000000 -m udp --dport 53 -j DNAT --to-destination 10.0.1.8:54",
  "-A SHARED_DNAT -d 203.0.113.3/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.1.9:55",
  "-A SHARED_DNAT -d 203.0.113.3/32 -p sctp -m statistic --mode random --probability 0.50000000000 -m sctp --dport 3868 -j DNAT --to-destination 10.0.1.7:3868",
  "-A SHARED_DNAT -d 203.0.113.3/32 -p sctp -m sctp --dport 3868 -j DNAT --to-destination 10.0.1.8:3868",
  ...[128, 129, 130, 131].map(
    (host) =>
      `-A SHARED_SNAT -s 10.0.1.${host}/32 -o net1 -j SNAT --to-source 203.0.113.${host % 2 === 0 ? 3 : 4} --random-fully`,
  ),
  ...Array.from({ length: 16 }, (_, bucket) => {
    const to = 5 + (bucket % 3);
    const tail = to === 6 ? "" : " --random-fully";
    return `-A SHARED_SNAT -s 10.0.2.${bucket}/255.255.255.15 -o net1 -j SNAT --to-source 203.0.113.${to}${tail}`;
  }),
  "-A SHARED_SNAT -s 10.0.0.0/16 -o net1 -j SNAT --to-source 203.0.113.8",
  "-A SHARED_SNAT -o net1 -j SNAT --to-source 203.0.113.9 --random-fully",
  "-A SNAT_FILTER -j EXCLUSIVE_SNAT",
  "-A SNAT_FILTER -j SHARED_SNAT",
  "-A SNAT_FILTER -j HAIRPIN_SNAT",
];

const textsOf = (rules: RuleDump) =>
  [...rules]
    .sort()
    .map(([table, chains]) => [
      table,
      [...chains].sort().map(([chain, some]) => [chain, some.map(({ text }) => text)]),
    ]);
const only = (...fips: Program["fips"]): Program => ({ ...emptyProgram, fips });
const manyFips = (count: number): Program => ({
  ...emptyProgram,
  eips: Array.from({ length: count }, (_, index) => ({
    ...eip(1),
    id: objectId("eip", `e${index}`),
    address: ip(`203.0.${index >> 8}.${index & 255}`),
  })),
  fips: Array.from({ length: count }, (_, index) => ({
    id: objectId("fip", `f${index}`),
    eip: ip(`203.0.${index >> 8}.${index & 255}`),
    internalIp: ip(`10.1.${index >> 8}.${index & 255}`),
    isOutward: true,
  })),
});

await sweep();

for (const variant of ["nft", "legacy"] as const) {
  t.test(variant, async (t) => {
    const namespace = testName(`ipt-${variant}`);
    await addNamespaces([namespace]);
    t.teardown(() => deleteNamespaces([namespace]));
    const lab = new Lab(namespace, variant);

    await t.test("from nothing to the layout, line by line", async (t) => {
      const empty = await lab.observe();
      t.ok(lab.dataplane.planner.isPristine(empty));
      t.notOk(lab.dataplane.planner.holdsObjects(empty));
      t.notOk(lab.dataplane.planner.isGateClosed(empty));
      t.equal((await lab.run(["iptables-legacy-save"])).stdout, "", "looking made no table");
      t.equal((await lab.run(["nft", "list", "ruleset"])).stdout, "", "of neither variant");

      await lab.converge(full);
      t.same(await lab.lines("nat"), fullLayout);
      t.same(await lab.lines("mangle"), [
        "-A PREROUTING -j VPC_MARK",
        "-A VPC_MARK -i eth0 -j MARK --set-xmark 0x1/0x1",
      ]);
      const seen = await lab.observe();
      t.ok(lab.dataplane.planner.holdsObjects(seen));
      t.equal(lab.dataplane.planner.eipsNamed(seen).size, 9);
      t.same(await chooseVariant(lab.run, "auto", ipv4, signal), { kind: "chosen", variant });
    });

    await t.test("delete and retarget", async (t) => {
      await lab.converge(only(fip(1, "10.0.1.5"), fip(2, "10.0.1.6")));
      await lab.converge(only(fip(1, "10.0.1.9")));
      t.same(await lab.lines("nat", "EXCLUSIVE"), [
        "-A EXCLUSIVE_DNAT -d 203.0.113.1/32 -j DNAT --to-destination 10.0.1.9",
        "-A EXCLUSIVE_SNAT -s 10.0.1.9/32 -j SNAT --to-source 203.0.113.1",
      ]);
      t.same(await lab.converge(emptyProgram), [
        "-D EXCLUSIVE_DNAT -d 203.0.113.1/32 -j DNAT --to-destination 10.0.1.9",
        "-D EXCLUSIVE_SNAT -s 10.0.1.9/32 -j SNAT --to-source 203.0.113.1",
      ]);
      t.notOk(lab.dataplane.planner.holdsObjects(await lab.observe()));
    });

    await t.test("drift is repaired, what others own stays", async (t) => {
      await lab.converge(full);
      const others = [
        "-t nat -A PREROUTING -s 192.0.2.1/32 -j RETURN",
        "-t nat -I POSTROUTING -m comment --comment ours -j RETURN",
        "-t nat -N OTHERS",
        "-t nat -A OTHERS -d 203.0.113.1/32 -j RETURN",
        "-t mangle -A FORWARD -d 192.0.2.2/32 -j ACCEPT",
      ];
      for (const rule of others) await lab.iptables(rule);
      t.same(await lab.converge(full), [], "nothing of ours was touched");
      const meddling = [
        "-t nat -A EXCLUSIVE_DNAT -s 192.0.2.3/32 -j RETURN",
        "-t nat -I SHARED_SNAT -m comment --comment foreign -m multiport -p tcp --dports 1,2 -j RETURN",
        "-t nat -D PREROUTING -j DNAT_FILTER",
        "-t nat -A POSTROUTING -j SNAT_FILTER",
        "-t nat -F HAIRPIN_SNAT",
        "-t nat -F SNAT_FILTER",
        "-t nat -D SHARED_DNAT 2",
        "-t nat -A EXCLUSIVE_SNAT -s 10.0.1.5 -j SNAT --to-source 203.0.113.1",
        "-t mangle -F VPC_MARK",
      ];
      for (const act of meddling) await lab.iptables(act);
      t.ok(lab.dataplane.planner.missing(full, await lab.observe()).size > 0);
      await lab.converge(full);
      const nat = await lab.lines("nat");
      t.same(nat.filter((line) => !/192\.0\.2|ours|OTHERS/.test(line)).sort(), fullLayout.toSorted());
      t.same(await lab.lines("nat", "OTHERS"), ["-A OTHERS -d 203.0.113.1/32 -j RETURN"]);
      t.equal((await lab.lines("nat", "PREROUTING")).length, 2);
      t.equal((await lab.lines("nat", "POSTROUTING")).length, 2);
      t.same(await lab.lines("mangle", "FORWARD"), ["-A FORWARD -d 192.0.2.2/32 -j ACCEPT"]);
      t.same(lab.dataplane.planner.foreignRulesNaming(await lab.observe(), ip("203.0.113.1")), [
        "-t nat -A OTHERS -d 203.0.113.1/32 -j RETURN",
      ]);
      for (const rule of ["-t nat -F OTHERS", "-t nat -X OTHERS", "-t mangle -F FORWARD"])
        await lab.iptables(rule);
    });

    await t.test("the longest prefix stands first, in whatever order SNATs arrive", async (t) => {
      const pools = [
        pool("10.2.3.4/32", member(1)),
        pool("10.2.3.0/24", member(2), member(3)),
        pool("10.2.0.0/16", member(4)),
        pool("10.0.0.0/8", member(5)),
      ];
      for (const order of [
        [3, 2, 1, 0],
        [1, 3, 0, 2],
        [2, 0, 3, 1],
      ]) {
        await lab.converge(emptyProgram);
        for (const [position] of order.entries()) {
          const arrived = new Set(order.slice(0, position + 1));
          await lab.converge({ ...emptyProgram, pools: pools.filter((_, index) => arrived.has(index)) });
        }
        const sources = (await lab.lines("nat", "SHARED_SNAT")).map((line) => line.split(" ")[3]);
        t.equal(sources[0], "10.2.3.4/32", order.join());
        t.same(sources.slice(-2), ["10.2.0.0/16", "10.0.0.0/8"], order.join());
        t.equal(sources.length, 19);
      }
    });

    await t.test("adding and removing backends affects only their DNAT", async (t) => {
      const [web, dns] = full.dnats;
      if (web === undefined || dns === undefined) throw new Error("no DNATs");
      const withBackends = (...backends: typeof dns.backends): Program => ({
        ...emptyProgram,
        dnats: [web, { ...dns, backends }],
      });
      for (const count of [1, 2, 3, 7]) {
        const [first, ...rest] = Array.from({ length: count }, (_, index) => backend(20 + index, 53));
        if (first === undefined) throw new Error("no backend");
        const changes = await lab.converge(withBackends(first, ...rest));
        t.notOk(changes.some((text) => text.includes("-D") && text.includes("10.0.1.6:8080")));
        t.equal((await lab.lines("nat", "SHARED_DNAT")).length, count + 1);
      }
      await lab.converge(withBackends(backend(21, 53), backend(20, 53)));
      const changes = await lab.converge(withBackends(backend(20, 53), backend(21, 53)));
      t.ok(changes.length > 0, "shares follow the order");
    });

    await t.test("300 FIPs are added in one transaction, and most of them removed in another", async (t) => {
      await lab.converge(emptyProgram);
      lab.forks.length = 0;
      await lab.converge(manyFips(300));
      const restores = lab.forks.filter((command) => command.endsWith("-restore")).length;
      t.equal(restores, variant === "legacy" ? 2 : 1, "with legacy another for the guard");
      t.equal(lab.forks.filter((command) => command.endsWith("-save")).length, 2, "before and after");
      t.equal((await lab.lines("nat", "EXCLUSIVE_DNAT")).length, 300);
      await lab.converge(manyFips(290));
      await lab.converge(manyFips(20));
      t.equal((await lab.lines("nat", "HAIRPIN_SNAT")).length, 20);
      await lab.converge(emptyProgram);
    });

    await t.test("the gate closes and opens; the guard survives a flush of nat", async (t) => {
      await lab.converge(full, "closed");
      t.ok(lab.dataplane.planner.isGateClosed(await lab.observe()));
      const filterTables = async () =>
        variant === "nft"
          ? (await lab.run(["nft", "list", "tables"])).stdout.match(/ natgw_(gate|guard)/g)
          : (await lab.lines("filter", "FORWARD")).map((line) =>
              line.slice("-A FORWARD -j".length).toLowerCase(),
            );
      t.same((await filterTables())?.toSorted(), [" natgw_gate", " natgw_guard"]);
      if (variant === "legacy") {
        await lab.iptables("-t filter -I FORWARD -j ACCEPT");
        await lab.converge(full, "closed");
        t.match((await lab.lines("filter", "FORWARD"))[0], "NATGW_GATE", "ahead of an ACCEPT");
        await lab.iptables("-t filter -D FORWARD -j ACCEPT");
      } else {
        await lab.run(["nft", "add rule ip natgw_guard forward accept"]);
        await lab.run(["nft", "add chain ip natgw_gate other"]);
      }
      const opening = lab.dataplane.plan(full, await lab.observe(), "open");
      t.equal(opening.changes.at(-1)?.subsystem, "gate");
      await lab.converge(full, "open");
      t.notOk(lab.dataplane.planner.isGateClosed(await lab.observe()));
      t.same(await filterTables(), [" natgw_guard"]);

      await lab.iptables("-t nat -F");
      t.same(await filterTables(), [" natgw_guard"]);
      t.equal(lab.dataplane.planner.missing(full, await lab.observe()).size, full.eips.length + 2 + 3 + 7);
      await lab.converge(full);
    });

    await t.test("a refused transaction is refused completely, with the kernel's text", async (t) => {
      await lab.converge(emptyProgram);
      const misspelt = "-A DNAT_FILTER -j SNAT --to-source 203.0.113.1"; // SNAT is not for PREROUTING
      const refusing = iptablesRules({
        variant,
        filterTables: async () => lab.tables,
        run: (argv, options = {}) =>
          lab.run(argv, {
            ...options,
            stdin: options.stdin?.replace(/-A EXCLUSIVE_DNAT .*/, misspelt) ?? "",
          }),
      });
      const plan = refusing.plan(only(fip(1, "10.0.1.5")), await lab.observe(), "open");
      await t.rejects(refusing.apply(plan, signal), { code: "rules-refused", message: /line [0-9]+/ });
      t.notOk(lab.dataplane.planner.holdsObjects(await lab.observe()), "nothing of it was applied");
    });

    await t.test("the listing of one chain agrees with the full dump", async (t) => {
      await lab.converge(full);
      const nat = (await lab.observe()).rules.get("nat") ?? new Map<string, never>();
      for (const [chain, rules] of nat) {
        const text = await listChain(variant, { table: "nat", chain }, ipv4, lab.run, signal);
        t.equal(parseChain(chain, text, ipv4, rules), rules, chain);
      }
    });

    await t.test("a dump cut short throws", async (t) => {
      await lab.converge(full);
      for (const share of [0.2, 0.5, 0.9]) {
        const cutting = iptablesRules({
          variant,
          run: async (argv, options) => {
            const output = await lab.run(argv, options);
            if (!argv[0]?.endsWith("-save")) return output;
            return { ...output, stdout: output.stdout.slice(0, output.stdout.lastIndexOf("COMMIT") * share) };
          },
        });
        await t.rejects(cutting.observe(signal), { code: "unreadable" });
      }
    });
  });
}

t.test(
  "nft: for foreign rule changes only their chains are read, for other changes everything",
  async (t) => {
    const { netlink, journal } = await enterNftNamespace(t, "ipt-commits");
    const forks: string[] = [];
    const run = createRun({ onStart: (command) => forks.push(command) });
    const byHand = createRun();
    const filterTables = new FilterTables(netlink);
    const dataplane = iptablesRules({
      run,
      variant: "nft",
      journal,
      readGeneration: (signal) => readGeneration(netlink, signal),
      filterTables: async () => filterTables,
    });
    const converge = async () => {
      await dataplane.apply(dataplane.plan(full, await dataplane.observe(signal), "open"), signal);
      t.same(dataplane.plan(full, await dataplane.observe(signal), "open").changes, []);
    };
    const forksAfter = async (...commands: readonly string[]) => {
      for (const command of commands) await byHand(command.split(" "));
      forks.length = 0;
      const seen = await dataplane.observe(signal);
      const found = [...forks];
      const plain = iptablesRules({
        run: byHand,
        variant: "nft",
        filterTables: async () => new FilterTables(netlink),
      });
      const all = await plain.observe(signal);
      t.same(textsOf(seen.rules), textsOf(all.rules), commands.join());
      t.same(seen.filterTables, all.filterTables);
      return found;
    };
    const [one, two] = [["iptables-nft"], ["iptables-nft", "iptables-nft"]];
    const all = ["iptables-nft-save"];
    const nat = "iptables-nft -t nat";
    const deleteFip = `${nat} -D EXCLUSIVE_DNAT -d 203.0.113.1/32 -j DNAT --to-destination 10.0.1.5`;
    await converge();
    t.same(await forksAfter(deleteFip), one);
    await converge();
    t.same(await forksAfter(deleteFip, `${nat} -F HAIRPIN_SNAT`), two);
    await converge();
    t.same(
      await forksAfter(
        `${nat} -I EXCLUSIVE_SNAT -s 192.0.2.3/32 -j RETURN`,
        `${nat} -R EXCLUSIVE_SNAT 1 -j RETURN`,
      ),
      one,
    );
    t.same(await forksAfter("iptables-nft -t mangle -A VPC_MARK -s 192.0.2.3/32 -j RETURN"), one);
    t.same(await forksAfter("ip6tables-nft -t nat -N OTHER"), [], "which is not of IPv4");
    t.same(await forksAfter("nft add table ip stranger"), [], "and that not of iptables");
    for (const commands of [
      [deleteFip, `${nat} -F HAIRPIN_SNAT`, `${nat} -F SHARED_SNAT`],
      [`${nat} -N OTHER`],
      [`${nat} -X OTHER`],
      ["iptables-nft -t mangle -P PREROUTING DROP"],
      ["iptables-nft -A FORWARD -j ACCEPT"],
      ["nft delete table ip nat"],
      ["nft delete table ip natgw_guard"],
    ]) {
      t.same(
        (await forksAfter(...commands)).filter((one, at, some) => some.indexOf(one) === at),
        [...new Set(all)],
        `all after ${commands}`,
      );
      await converge();
    }
  },
);

t.test("legacy: the kernel's digest proves that nothing changed", async (t) => {
  const namespace = testName("ipt-digest");
  await addNamespaces([namespace]);
  t.teardown(() => deleteNamespaces([namespace]));
  const lab = new Lab(namespace, "legacy");
  const leave = enterNamespace(namespace);
  t.teardown(leave);
  t.equal(await readLegacyDigest(), "", "no table");
  t.equal((await lab.run(["iptables-legacy-save"])).stdout, "", "asking made none");
  await lab.converge(full);
  await lab.iptables("-t filter -A OUTPUT -j ACCEPT");
  const before = await readLegacyDigest();
  await lab.run(["ip", "link", "set", "lo", "up"]);
  await lab.run(["bash", "--norc", "-c", "echo counted > /dev/udp/127.0.0.1/9"]);
  t.match((await lab.run(["iptables-legacy", "-L", "OUTPUT", "-v", "-x"])).stdout, /^ +[1-9].* ACCEPT/m);
  t.equal(await readLegacyDigest(), before, "what rules counted is no change");
  for (const act of [
    "-t nat -A EXCLUSIVE_DNAT -s 192.0.2.3/32 -j RETURN",
    "-t nat -D EXCLUSIVE_DNAT -s 192.0.2.3/32 -j RETURN",
    "-t mangle -P FORWARD DROP",
    "-t raw -A OUTPUT -j ACCEPT",
  ]) {
    const last = await readLegacyDigest();
    await lab.iptables(act);
    t.not(await readLegacyDigest(), last, act);
  }
});

t.test("nft: a few rules are appended as the tool would, unless another program writes", async (t) => {
  const namespace = testName("ipt-append");
  await addNamespaces([namespace]);
  t.teardown(() => deleteNamespaces([namespace]));
  t.teardown(enterNamespace(namespace));
  const netlink = openNftables();
  t.teardown(() => netlink.close());
  const appender = new ExampleAppender(netlink, ipv4);
  const lab = new Lab(namespace, "nft", {
    readGeneration: () => readGeneration(netlink, signal),
    appender,
  });
  const tools = () => lab.forks.splice(0).filter((command) => command.startsWith("iptables-nft"));
  const chains = ["EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT", "HAIRPIN_SNAT"];
  /** The expressions of all rules, in order. */
  const bytecode = async () => {
    const { stdout } = await lab.run(["nft", "--debug=netlink", "list", "table", "ip", "nat"]);
    return stdout.split("\n").filter((line) => line.startsWith("  [ "));
  };
  const withEips = (count: number): Program => {
    const { fips, ...program } = manyFips(count);
    return { ...program, fips, eips: Array.from({ length: count }, (_, number) => eip(number + 1)) };
  };

  await lab.converge(withEips(1));
  tools();
  await lab.converge(withEips(2));
  t.ok(tools().includes("iptables-nft-restore"), "one example proves nothing");
  await lab.converge(withEips(4));
  t.notOk(tools().includes("iptables-nft-restore"), "two do");
  const [saved, compiled] = [await lab.lines("nat"), await bytecode()];
  for (const chain of chains)
    t.equal(saved.filter((line) => line.startsWith(`-A ${chain} `)).length, 4, chain);

  await lab.run(["iptables-nft", "-t", "nat", "-F"]);
  await lab.run(["iptables-nft-restore", "--noflush"], { stdin: `*nat\n${saved.join("\n")}\nCOMMIT\n` });
  t.same(await lab.lines("nat"), saved);
  t.ok(compiled.length > 40);
  t.same(await bytecode(), compiled, "the tool makes the same of it");

  const { rules } = await lab.observe();
  const rule = parseRule("-d 203.0.113.9/32 -j DNAT --to-destination 10.0.1.9", ipv4);
  const additions = [{ table: "nat" as const, chain: "EXCLUSIVE_DNAT", rules: [rule] }];
  const now = await readGeneration(netlink, signal);
  t.equal(
    await appender.append(now - 1, additions, rules, signal),
    undefined,
    "of a generation that is gone",
  );
  t.same(await lab.lines("nat"), saved);
  const appended = (await appender.append(now, additions, rules, signal)) ?? [];
  const read = await appender.readBack(appended, rules, signal);
  t.same(
    read?.get("nat")?.get("EXCLUSIVE_DNAT"),
    (await lab.observe()).rules.get("nat")?.get("EXCLUSIVE_DNAT"),
  );
  await lab.iptables("-t nat -A EXCLUSIVE_DNAT -s 192.0.2.3/32 -j RETURN");
  t.equal(await appender.readBack(appended, rules, signal), undefined, "another rule came after it");
});

t.test("nft: rules are deleted by their handles unless another program writes", async (t) => {
  const namespace = testName("ipt-handles");
  await addNamespaces([namespace]);
  t.teardown(() => deleteNamespaces([namespace]));
  t.teardown(enterNamespace(namespace));
  const netlink = openNftables();
  t.teardown(() => netlink.close());
  const lab = new Lab(namespace, "nft", {
    readGeneration: () => readGeneration(netlink, signal),
    removeByHandle: (...request) => removeByHandle(netlink, ...request),
  });
  const restores = () => lab.forks.splice(0).filter((command) => command.endsWith("-restore"));
  const few = (count: number, step: number): Program => {
    const { fips } = manyFips(count);
    return { ...manyFips(300), fips: fips.filter((_, index) => index % step > 0) };
  };
  const dnats = ({ fips }: Program) =>
    fips.map((fip) => `-A EXCLUSIVE_DNAT -d ${fip.eip}/32 -j DNAT --to-destination ${fip.internalIp}`);

  await lab.converge(manyFips(300));
  await lab.iptables("-t nat -A OUTPUT -d 192.0.2.1/32 -j RETURN");
  restores();
  const before = await readGeneration(netlink, signal);
  await lab.converge(few(300, 3));
  t.same(restores(), []);
  t.equal(await readGeneration(netlink, signal), before + 2, "one transaction, and the guard's");
  t.same(await lab.lines("nat", "EXCLUSIVE_DNAT"), dnats(few(300, 3)));
  t.same(await lab.lines("nat", "OUTPUT"), ["-A OUTPUT -d 192.0.2.1/32 -j RETURN"]);

  const { table, input } = planTable(
    wantedNat(few(150, 3)),
    (await lab.observe()).rules.get("nat"),
    editsByHandle,
  );
  const seen = await lab.observe();
  const removals = removalsOf({ table, input: input ?? "" }, seen.rules) ?? [];
  t.same(
    removals.map(({ chain }) => chain),
    ["EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT"],
  );
  t.ok(removals.every(({ positions, length }) => positions.size > editsByTool.deletes && length === 200));
  const plan = lab.dataplane.plan(few(150, 3), seen, "open");
  await lab.iptables("-t nat -I EXCLUSIVE_DNAT -s 192.0.2.3/32 -j RETURN");
  const lines = await lab.lines("nat");
  const now = await readGeneration(netlink, signal);
  const [dnat, snat] = removals;
  if (dnat === undefined || snat === undefined) throw new Error("no removals");
  t.notOk(await removeByHandle(netlink, now - 1, [snat], signal), "of a generation that is gone");
  t.notOk(await removeByHandle(netlink, now, [snat, dnat], signal), "from a chain of another length");
  const more = { ...snat, positions: new Set([...snat.positions, 1_000]) };
  t.notOk(await removeByHandle(netlink, now, [more], signal), "of a rule that is not there");
  t.same(await lab.lines("nat"), lines);

  lab.forks.length = 0;
  await lab.dataplane.apply(plan, signal);
  t.equal(restores().length, 1, "the tool, on what is there now");
  t.same(await lab.lines("nat", "EXCLUSIVE_DNAT"), dnats(few(150, 3)));
  await lab.iptables("-t nat -A EXCLUSIVE_SNAT -s 192.0.2.3/32 -j RETURN");
  await lab.converge(manyFips(2));
  t.same(await lab.lines("nat", "EXCLUSIVE_DNAT"), dnats(manyFips(2)));
  t.equal((await lab.lines("nat", "EXCLUSIVE_SNAT")).length, 2);
});

t.test("rules that nft made and iptables cannot read are never an empty table", async (t) => {
  const namespace = testName("ipt-foreign");
  await addNamespaces([namespace]);
  t.teardown(() => deleteNamespaces([namespace]));
  const lab = new Lab(namespace, "nft");
  await lab.converge(full);
  await lab.run(["nft", "add rule ip nat SHARED_SNAT ip saddr 192.0.2.1 meta mark set numgen inc mod 3"]);
  await t.rejects(lab.observe(), { code: "unreadable", message: /nat/ });
});

t.test("both variants hold rules: mixed", async (t) => {
  const namespace = testName("ipt-mixed");
  await addNamespaces([namespace]);
  t.teardown(() => deleteNamespaces([namespace]));
  const legacy = new Lab(namespace, "legacy");
  await legacy.converge(only(fip(1, "10.0.1.5")));
  t.same(await chooseVariant(legacy.run, "auto", ipv4, signal), { kind: "chosen", variant: "legacy" });
  await new Lab(namespace, "nft").converge(only(fip(2, "10.0.1.6")));
  t.match(await chooseVariant(legacy.run, "auto", ipv4, signal), { kind: "mixed" });
});
