/** The driver with tools that fail in every way, without a kernel. */

import t from "tap";
import type { CommitJournal } from "../../../../../agent/kernel/commit-journal.ts";
import { IptablesRuleset } from "../../../../../agent/kernel/iptables/ruleset.ts";
import type { Variant } from "../../../../../agent/kernel/iptables/tools.ts";
import { chooseVariant } from "../../../../../agent/kernel/iptables/variant.ts";
import type { CommandOptions, CommandOutput, Run } from "../../../../../agent/kernel/run.ts";
import { parseRule } from "../../../../../lib/iptables/parse-rule.ts";
import type { ChainRemovals } from "../../../../../lib/iptables/removals.ts";
import type { RuleDump } from "../../../../../lib/iptables/save.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import { objectId } from "../../../../../lib/model/names.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import { type Commit, commitsSince } from "../../../../../lib/nftables/commits.ts";
import { byGuardSet, noGuardElements } from "../../../../../lib/nftables/sets.ts";
import { compareGuard, wantedGuard } from "../../../../../lib/plan/guard.ts";
import type { IptablesObserved } from "../../../../../lib/plan/iptables/observed.ts";
import { FakeTable } from "../../../../property/lib/plan/iptables/packet-model.ts";
import { emptyProgram, ip } from "../../../../property/lib/plan/iptables/programs.ts";
import { FakeFilterTables } from "../../../../support/fake-filter-tables.ts";
import { iptablesRules } from "../../../../support/rules.ts";

const signal = new AbortController().signal;

const one: Program = {
  ...emptyProgram,
  fips: [{ id: objectId("fip", "f"), eip: ip("203.0.113.1"), internalIp: ip("10.0.0.1"), isOutward: true }],
};

/** The tools of one variant on tables in memory. `fail` can answer a restore instead of the kernel. */
class FakeKernel {
  readonly nat = new FakeTable("nat");
  readonly mangle = new FakeTable("mangle");
  readonly filter = new FakeTable("filter");
  readonly calls: string[] = [];
  readonly filterTables = new FakeFilterTables(this.calls);
  save: (dump: string) => string = (dump) => dump;
  fail: (input: string) => CommandOutput | undefined = () => undefined;
  list: (listing: string) => string = (listing) => listing;
  generation = 1;

  readonly run: Run = async (argv, { stdin = "" }: CommandOptions = {}) => {
    const [command = "", , , verb, chain = ""] = argv;
    this.calls.push(verb === "-S" ? `${command} -S ${chain}` : command);
    if (verb === "-S") {
      const rules = this.nat.rules(chain).map((rule) => `-A ${chain} ${rule}\n`);
      return ok(this.list([`-N ${chain}\n`, ...rules].join("")));
    }
    if (command.endsWith("-save"))
      return ok(this.save(this.nat.save() + this.mangle.save() + this.filter.save()));
    if (command.endsWith("-restore")) return this.fail(stdin) ?? this.#restore(stdin);
    throw new Error(`nobody runs ${argv.join(" ")}`);
  };

  constructor() {
    this.filterTables.onWrite = () => this.generation++;
    this.filterTables.generation = () => this.generation;
  }

  readonly stamps = {
    readGeneration: async () => this.generation,
    readLegacyDigest: async () => this.nat.save() + this.mangle.save() + this.filter.save(),
  };

  /** The commands since the last call. */
  takeCalls(): readonly string[] {
    return this.calls.splice(0);
  }

  /** A rule of another program. */
  meddle(line: string): void {
    this.nat.restore(`*nat\n${line}\nCOMMIT\n`);
    this.generation++;
  }

  #restore(input: string): CommandOutput {
    const table = [this.nat, this.mangle, this.filter].find((one) => input.startsWith(`*${one.table}\n`));
    try {
      table?.restore(input);
      this.generation++;
      return ok("");
    } catch (error) {
      const line = input.split("\n").findIndex((text) => String(error).endsWith(text)) + 1;
      return { exitCode: 1, stdout: "", stderr: `iptables-nft-restore: line ${line} failed: Bad rule` };
    }
  }
}

function ok(stdout: string): CommandOutput {
  return { exitCode: 0, stdout, stderr: "# Warning: iptables-legacy tables present\n" };
}

async function converge(kernel: FakeKernel, variant: Variant, program = one, options = {}) {
  const filterTables = async () => (variant === "nft" ? kernel.filterTables : undefined);
  const dataplane = iptablesRules({ run: kernel.run, variant, filterTables, ...options });
  const plan = dataplane.plan(program, await dataplane.observe(signal), "open");
  await dataplane.apply(plan, signal);
  return dataplane;
}

t.test("a pass reads once, writes each table once, reads again, and then plans nothing", async (t) => {
  const kernel = new FakeKernel();
  const dataplane = iptablesRules({ run: kernel.run, variant: "legacy", ...kernel.stamps });
  const empty = await dataplane.observe(signal);
  t.ok(dataplane.planner.isPristine(empty));
  t.notOk(dataplane.planner.isGateClosed(empty));
  const plan = dataplane.plan(one, empty, "closed");
  t.equal(plan.changes[0]?.subsystem, "gate", "closed before all else");
  await dataplane.apply(plan, signal);
  const seen = await dataplane.observe(signal);
  const save = "iptables-legacy-save";
  t.same(kernel.takeCalls(), [save, ...Array(3).fill("iptables-legacy-restore"), save]);
  t.ok(dataplane.planner.isGateClosed(seen));
  t.ok(dataplane.planner.holdsObjects(seen));
  t.equal(dataplane.planner.countRules(seen), 8);
  t.same([...dataplane.planner.eipsNamed(seen)], ["203.0.113.1"]);
  t.equal(dataplane.planner.missing(one, seen).size, 0);
  t.same(dataplane.plan(one, seen, "closed").changes, []);
  t.equal((await dataplane.observe(signal)).rules.get("nat"), seen.rules.get("nat"), "not parsed again");

  const none = dataplane.plan(emptyProgram, seen, "open");
  t.equal(none.changes.at(-1)?.subsystem, "gate", "opened after all else");
  await dataplane.apply(none, signal);
  const after = await dataplane.observe(signal);
  t.notOk(dataplane.planner.isGateClosed(after));
  t.notOk(dataplane.planner.holdsObjects(after));
  t.notOk(dataplane.planner.isPristine(after), "the fixed rules stay");
});

t.test("guard and gate are nftables tables, and chains only where there is no nft", async (t) => {
  for (const variant of ["nft", "legacy"] as const) {
    const kernel = new FakeKernel();
    await converge(kernel, variant, one, { filterTables: undefined });
    t.ok(kernel.filter.has("NATGW_GUARD"));
    const options = {
      run: kernel.run,
      variant,
      ...kernel.stamps,
      filterTables: async () => kernel.filterTables,
    };
    const dataplane = iptablesRules(options);
    const plan = dataplane.plan(one, await dataplane.observe(signal), "closed");
    t.same(
      plan.payload.steps.map(({ kind }) => kind),
      ["filterTables", "rules"],
      "the chains go once the tables are there",
    );
    await dataplane.apply(plan, signal);
    t.ok(kernel.filterTables.tables.has("guard") && kernel.filterTables.tables.has("gate"));
    t.same([kernel.filter.rules("FORWARD"), kernel.filter.has("NATGW_GUARD")], [[], false]);
    const seen = await dataplane.observe(signal);
    t.same(dataplane.plan(one, seen, "closed").changes, []);
    t.ok(dataplane.planner.isGateClosed(seen));
  }
});

const moved: Program = { ...one, fips: one.fips.map((fip) => ({ ...fip, internalIp: ip("10.0.0.2") })) };

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("there is none");
  return value;
}

/** From one whole program to another. */
const guardOf = (from: Program, to: Program) => compareGuard(wantedGuard(to), wantedGuard(from));

for (const variant of ["nft", "legacy"] as const) {
  /**
   * A converged gateway whose FIP gets another pod by an incremental pass, with changes of another program in between.
   */
  const narrow = async (meddle: (kernel: FakeKernel) => void = () => {}, to = moved) => {
    const kernel = new FakeKernel();
    kernel.meddle(":LEFT - [0:0]");
    const dataplane = await converge(kernel, variant, one, kernel.stamps);
    const { planner, driver } = dataplane;
    const { incremental } = driver;
    const seen = await dataplane.observe(signal);
    kernel.takeCalls();
    const base = await incremental?.base(signal);
    if (incremental === undefined || base === undefined) throw new Error("nothing to begin from");
    const plan = given(planner.planPart(one, to, base, guardOf(one, to)));
    await dataplane.apply(plan, signal);
    meddle(kernel);
    return { kernel, dataplane, incremental, seen, base, plan, after: await incremental.verify(signal) };
  };

  t.test(`${variant}: after a single change only its chain is read back`, async (t) => {
    const { kernel, dataplane, incremental, seen, base, plan, after } = await narrow();
    t.equal(base, seen);
    // Without nf_tables, what goes to a FIP has a rule of its own.
    t.equal(plan.changes.length, variant === "legacy" ? 8 : 6, "the guard's with them");
    t.same(
      kernel.takeCalls(),
      variant === "legacy"
        ? ["iptables-legacy-restore", "iptables-legacy-restore", "iptables-legacy-save"]
        : [
            "filterTables write",
            "iptables-nft-restore",
            "iptables-nft -S EXCLUSIVE_DNAT",
            "iptables-nft -S EXCLUSIVE_SNAT",
            "filterTables read written",
          ],
    );
    t.ok(after && dataplane.planner.planPart(one, moved, after, guardOf(one, moved))?.changes.length === 0);
    t.equal(after?.rules.get("nat")?.get("HAIRPIN_SNAT"), base.rules.get("nat")?.get("HAIRPIN_SNAT"));
    const whole = await iptablesRules({ run: kernel.run, variant }).observe(signal);
    t.same(after && textsOf(after), textsOf(whole), "as if all had been read");
    await dataplane.observe(signal);
    kernel.takeCalls();
    t.same(textsOf(await dataplane.observe(signal)), textsOf(whole));
    t.ok(await incremental.verified(signal));
    t.same(kernel.takeCalls(), [], "and at rest nothing is read");
  });

  t.test(`${variant}: if anything else changed, everything is read`, async (t) => {
    const [rule] = ["-s 192.0.2.1/32 -j RETURN"];
    for (const line of [
      `-A EXCLUSIVE_DNAT ${rule}`,
      `-I EXCLUSIVE_DNAT 1 ${rule}`,
      `-A SHARED_DNAT ${rule}`,
      `-A POSTROUTING ${rule}`,
      ":OTHERS - [0:0]",
      "-X LEFT",
      "-D PREROUTING -j DNAT_FILTER",
    ]) {
      const { dataplane, after, kernel } = await narrow((kernel) => kernel.meddle(line));
      t.equal(after, undefined, line);
      const whole = await iptablesRules({ run: kernel.run, variant }).observe(signal);
      t.same(textsOf(await dataplane.observe(signal)), textsOf(whole), "the next reading has it");
    }
    const { after, plan } = await narrow((kernel) => kernel.meddle(`-A SHARED_DNAT ${rule}`), one);
    t.same(plan.changes, [], "nothing to do");
    t.equal(after, undefined, "is no proof");
  });

  t.test(`${variant}: an unchanged ruleset is not read, a changed one is`, async (t) => {
    const kernel = new FakeKernel();
    const dataplane = await converge(kernel, variant, one, kernel.stamps);
    const seen = await dataplane.observe(signal);
    kernel.takeCalls();
    t.equal(await dataplane.observe(signal), seen);
    t.same(kernel.takeCalls(), []);
    kernel.meddle("-A EXCLUSIVE_DNAT -s 192.0.2.1/32 -j RETURN");
    t.equal(await dataplane.driver.incremental?.verified(signal), undefined);
    const { changes } = dataplane.plan(one, await dataplane.observe(signal), "open");
    t.match(
      changes.filter(({ subsystem }) => subsystem === "rule"),
      [{ action: "remove", text: "-D EXCLUSIVE_DNAT -s 192.0.2.1/32 -j RETURN" }],
    );
    t.ok(kernel.takeCalls().includes(`iptables-${variant}-save`));
  });
}

t.test("legacy: what another program changed meanwhile in the tables beside the rules is seen", async (t) => {
  const served = (externalPort: number): Program => ({
    ...one,
    dnats: [
      {
        id: objectId("dnat", "d"),
        eip: ip("203.0.113.2"),
        protocol: "tcp",
        externalPort,
        backends: [{ ip: ip("10.0.0.2"), port: 80 }],
      },
    ],
  });
  const kernel = new FakeKernel();
  const { filterTables } = kernel;
  const options = { ...kernel.stamps, filterTables: async () => filterTables };
  const dataplane = await converge(kernel, "legacy", served(80), options);
  await dataplane.observe(signal);
  const { incremental } = dataplane.driver;
  const base = await incremental?.base(signal);
  if (incremental === undefined || base === undefined) throw new Error("nothing to begin from");
  const [from, to] = [served(80), served(81)];
  const plan = given(dataplane.planner.planPart(from, to, base, guardOf(from, to)));
  t.same(
    plan.payload.steps.map(({ kind }) => kind),
    ["rules"],
  );
  await dataplane.apply(plan, signal);
  const flush = { definitions: {}, remove: byGuardSet(() => "all" as const), add: noGuardElements };
  t.ok(filterTables.tables.write(flush));
  kernel.generation++;
  await incremental.verify(signal);
  const { filterTables: seen } = await dataplane.observe(signal);
  t.equal(seen?.elements.fips.size, 0);
  t.equal(seen?.elements.backends.size, 0);
});

t.test("nft: a truncated listing of a chain is not used", async (t) => {
  const kernel = new FakeKernel();
  const dataplane = await converge(kernel, "nft", one, kernel.stamps);
  const base = await dataplane.observe(signal);
  const plan = given(dataplane.planner.planPart(one, moved, base, guardOf(one, moved)));
  await dataplane.apply(plan, signal);
  kernel.list = (listing) => listing.replace(/-A .*\n/, "");
  t.equal(await dataplane.driver.incremental?.verify(signal), undefined);
  for (const cut of [(listing: string) => listing.slice(0, -20), () => ""]) {
    kernel.list = cut;
    await t.rejects(async () => dataplane.driver.incremental?.verify(signal), { code: "unreadable" });
  }
  kernel.list = (listing) => listing;
  t.equal(dataplane.planner.missing(moved, await dataplane.observe(signal)).size, 0);
});

t.test("nft: a listing of foreign-changed chains counts if it is complete and current", async (t) => {
  const kernel = new FakeKernel();
  let commits: Commit[] = [];
  const journal: CommitJournal = {
    restart: () => undefined,
    beginReading: () => () => undefined,
    since: (generation) => commitsSince(generation, commits),
    forget: () => undefined,
    close: () => undefined,
  };
  const meddle = (line: string, growth: number) => {
    kernel.meddle(line);
    const touched = { isRemade: false, growth: new Map([["EXCLUSIVE_DNAT", growth]]), keys: new Map() };
    commits.push({ generation: kernel.generation, tables: new Map([["ip nat", touched]]) });
  };
  const dataplane = await converge(kernel, "nft", one, { ...kernel.stamps, journal });
  const expectTrue = async (calls: readonly string[], what: string) => {
    kernel.takeCalls();
    const seen = await dataplane.observe(signal);
    t.same(kernel.takeCalls(), calls, what);
    const filterTables = async () => kernel.filterTables;
    const whole = await iptablesRules({ run: kernel.run, variant: "nft", filterTables }).observe(signal);
    t.same(textsOf(seen), textsOf(whole), what);
  };
  const [listing, all] = ["iptables-nft -S EXCLUSIVE_DNAT", ["iptables-nft-save", "filterTables read"]];
  const line = "-A EXCLUSIVE_DNAT -s 192.0.2.1/32 -j RETURN";
  await dataplane.observe(signal);
  meddle(line, 1);
  await expectTrue([listing], "one chain");
  meddle(line, 1);
  kernel.list = (listing) => listing.replace(/-A .*\n$/, "");
  await expectTrue([listing, ...all], "cut short");
  meddle(line, 1);
  kernel.list = () => "";
  await expectTrue([listing, ...all], "not a listing");
  meddle(line, 1);
  kernel.list = (listing) => {
    meddle(line, 1);
    kernel.list = (listing) => listing;
    return listing;
  };
  await expectTrue([listing, ...all], "somebody came since");
  meddle(line, 1);
  commits = [];
  kernel.meddle(line);
  await expectTrue(all, "a commit that is not told of");
});

for (const variant of ["nft", "legacy"] as const) {
  t.test(`${variant}: the next reading sees what is written during a reading`, async (t) => {
    const line = "-A EXCLUSIVE_DNAT -s 192.0.2.1/32 -j RETURN";
    const kernel = new FakeKernel();
    const dataplane = await converge(kernel, variant, one, kernel.stamps);
    const afterwards = <T>(text: T) => {
      kernel.meddle(line);
      kernel.save = (dump) => dump;
      kernel.list = (listing) => listing;
      return text;
    };
    const holdsLine = async () => {
      const rules = (await dataplane.observe(signal)).rules.get("nat")?.get("EXCLUSIVE_DNAT");
      return rules?.some(({ raw }) => line.endsWith(raw));
    };
    await dataplane.observe(signal);
    kernel.meddle(":STIRRED - [0:0]");
    kernel.save = afterwards;
    t.notOk(await holdsLine());
    t.ok(await holdsLine(), "of all");

    kernel.meddle(line.replace("-A", "-D"));
    kernel.save = () => {
      kernel.save = (dump) => dump;
      kernel.meddle(line);
      return kernel.nat.save() + kernel.mangle.save() + kernel.filter.save();
    };
    t.ok(await holdsLine());
    kernel.meddle(line.replace("-A", "-D"));
    t.notOk(await holdsLine(), "though it was the same before the reading");

    const plan = given(
      dataplane.planner.planPart(one, moved, await dataplane.observe(signal), guardOf(one, moved)),
    );
    await dataplane.apply(plan, signal);
    kernel.list = afterwards;
    if (variant === "nft")
      t.equal(await dataplane.driver.incremental?.verify(signal), undefined, "of two chains");
  });
}

t.test("a read-ahead result is used while it is current, and dropped if it failed", async (t) => {
  const kernel = new FakeKernel();
  const dataplane = await converge(kernel, "nft", one, kernel.stamps);
  await dataplane.observe(signal);
  await dataplane.apply(dataplane.plan(moved, await dataplane.observe(signal), "open"), signal);
  kernel.meddle(":EXCLUSIVE_DNAT - [0:0]");
  t.equal(
    dataplane.planner.missing(moved, await dataplane.observe(signal)).size,
    1,
    "somebody was here since",
  );

  kernel.list = () => "";
  await dataplane.apply(dataplane.plan(moved, await dataplane.observe(signal), "open"), signal);
  await new Promise(setImmediate);
  kernel.list = (listing) => listing;
  t.equal(dataplane.planner.missing(moved, await dataplane.observe(signal)).size, 0);
});

t.test("legacy: a reading ahead takes one digest, and the next reading's proves it", async (t) => {
  const kernel = new FakeKernel();
  let digests = 0;
  const readLegacyDigest = () => {
    digests++;
    return kernel.stamps.readLegacyDigest();
  };
  const dataplane = iptablesRules({ run: kernel.run, variant: "legacy", readLegacyDigest });
  const write = async (program: Program) => {
    const plan = dataplane.plan(program, await dataplane.observe(signal), "open");
    digests = 0;
    await dataplane.apply(plan, signal);
    kernel.takeCalls();
    const seen = await dataplane.observe(signal);
    return { seen, digests, saves: kernel.takeCalls() };
  };
  const quiet = await write(one);
  t.equal(quiet.digests, 2);
  t.same(quiet.saves, ["iptables-legacy-save"]);

  let isOver = false;
  kernel.save = (dump) => {
    if (!isOver) kernel.meddle("-A EXCLUSIVE_DNAT -s 192.0.2.1/32 -j RETURN");
    isOver = true;
    return dump;
  };
  const meddled = await write(emptyProgram);
  t.ok(isOver, "after it was read");
  t.same(
    meddled.seen.rules
      .get("nat")
      ?.get("EXCLUSIVE_DNAT")
      ?.map(({ raw }) => raw),
    ["-s 192.0.2.1/32 -j RETURN"],
  );
});

t.test("nft: once the gate was opened, only guard and gate are read back", async (t) => {
  const kernel = new FakeKernel();
  const options = { run: kernel.run, filterTables: async () => kernel.filterTables, ...kernel.stamps };
  const dataplane = iptablesRules({ variant: "nft", ...options });
  await dataplane.apply(dataplane.plan(one, await dataplane.observe(signal), "closed"), signal);
  const closed = await dataplane.observe(signal);
  t.ok(kernel.takeCalls().includes("iptables-nft-save"));
  await dataplane.apply(dataplane.plan(one, closed, "open"), signal);
  const open = await dataplane.observe(signal);
  t.same(kernel.takeCalls(), ["filterTables write", "filterTables read written"]);
  t.equal(open.rules, closed.rules);
});

t.test("legacy: once the gate was opened, only guard and gate are read back", async (t) => {
  const begin = async () => {
    const kernel = new FakeKernel();
    let digests = 0;
    const readLegacyDigest = () => {
      digests++;
      return kernel.stamps.readLegacyDigest();
    };
    const filterTables = async () => kernel.filterTables;
    const dataplane = iptablesRules({ run: kernel.run, variant: "legacy", readLegacyDigest, filterTables });
    await dataplane.apply(dataplane.plan(one, await dataplane.observe(signal), "closed"), signal);
    const closed = await dataplane.observe(signal);
    await dataplane.apply(dataplane.plan(one, closed, "open"), signal);
    kernel.takeCalls();
    digests = 0;
    const open = async () => ({ open: await dataplane.observe(signal), calls: kernel.takeCalls(), digests });
    return { kernel, dataplane, closed, open };
  };

  const quiet = await begin();
  const { open, calls, digests } = await quiet.open();
  t.same([calls, digests], [["filterTables read written"], 1]);
  t.equal(open.rules, quiet.closed.rules);
  t.same([quiet.closed, open].map(quiet.dataplane.planner.isGateClosed), [true, false]);

  const line = "-A EXCLUSIVE_DNAT -s 192.0.2.1/32 -j RETURN";
  const meddled = await begin();
  meddled.kernel.meddle(line);
  const seen = await meddled.open();
  t.ok(seen.calls.includes("iptables-legacy-save"), "another program wrote to the legacy tables");
  t.match(JSON.stringify(textsOf(seen.open)), "-s 192.0.2.1/32 -j RETURN");

  const raced = await begin();
  raced.kernel.generation++;
  t.ok((await raced.open()).calls.includes("iptables-legacy-save"), "another program wrote to nf_tables");

  const late = await begin();
  const { filterTables } = late.kernel;
  filterTables.readWritten = () => {
    late.kernel.generation++;
    return filterTables.read();
  };
  t.ok((await late.open()).calls.includes("iptables-legacy-save"), "the same while they were read back");
});

t.test("a read that was cut short is never an empty table", async (t) => {
  const kernel = new FakeKernel();
  const dataplane = await converge(kernel, "legacy");
  kernel.save = (dump) => dump.slice(0, dump.indexOf("COMMIT"));
  await t.rejects(dataplane.observe(signal), { code: "unreadable" });
  kernel.save = () => "# Table `nat' is incompatible, use 'nft' tool.\n";
  await t.rejects(dataplane.observe(signal), { code: "unreadable" });
});

t.test("a second dump decides about a table only if it was there before", async (t) => {
  const kernel = new FakeKernel();
  const withoutFilter = (dump: string) => dump.slice(0, dump.indexOf("*filter"));
  kernel.save = withoutFilter;
  const dataplane = await converge(kernel, "legacy");
  kernel.takeCalls();
  await dataplane.observe(signal);
  t.same(kernel.takeCalls(), ["iptables-legacy-save"], "filter never existed");

  let dumps = 0;
  kernel.save = (dump) => (++dumps === 1 ? dump.slice(0, dump.indexOf("*mangle")) : withoutFilter(dump));
  const { rules } = await dataplane.observe(signal);
  t.equal(dumps, 2);
  t.ok(rules.has("nat"));
  t.ok(rules.has("mangle"), "the first dump ended before it");

  kernel.save = (dump) => dump.slice(0, dump.indexOf("*mangle"));
  const gone = await dataplane.observe(signal);
  t.notOk(gone.rules.has("mangle"), "two dumps agree");
});

t.test("another program wrote in between: the change is planned again, then applied", async (t) => {
  const kernel = new FakeKernel();
  const dataplane = await converge(kernel, "legacy");
  const plan = dataplane.plan(emptyProgram, await dataplane.observe(signal), "open");
  const [rule = ""] = kernel.nat.rules("EXCLUSIVE_DNAT");
  kernel.nat.restore(`*nat\n-D EXCLUSIVE_DNAT ${rule}\nCOMMIT\n`);
  await dataplane.apply(plan, signal);
  t.notOk(dataplane.planner.holdsObjects(await dataplane.observe(signal)));
});

t.test(
  "nft: rules are deleted by their handles; if that is impossible, the tool writes a plan of its own",
  async (t) => {
    const many = (count: number): Program => ({
      ...emptyProgram,
      fips: Array.from({ length: count }, (_, index) => ({
        id: objectId("fip", `f${index}`),
        eip: ip(`203.0.113.${index}`),
        internalIp: ip(`10.0.0.${index}`),
        isOutward: true,
      })),
    });
    const kernel = new FakeKernel();
    const asked: string[] = [];
    let isQuiet = true;
    let isLost: "not" | "before" | "after" = "not";
    const lost = () => new GatewayError("netlink-failed", "no answer within 60000 ms");
    const removeByHandle = async (generation: number, removals: readonly ChainRemovals[]) => {
      for (const { chain, positions, length } of removals)
        asked.push(`${chain} ${positions.size} of ${length}`);
      if (!isQuiet || generation !== kernel.generation) return false;
      if (isLost === "before") throw lost();
      for (const { table, chain, positions } of removals) {
        const lines = [...positions].map((at) => `-D ${chain} ${kernel.nat.rules(chain)[at]}`);
        kernel.nat.restore(`*${table}\n${lines.join("\n")}\nCOMMIT\n`);
      }
      kernel.generation++;
      if (isLost === "after") throw lost();
      return true;
    };
    const dataplane = await converge(kernel, "nft", many(100), { ...kernel.stamps, removeByHandle });
    const lead = async (count: number) => {
      const plan = dataplane.plan(many(count), await dataplane.observe(signal), "open");
      kernel.takeCalls();
      await dataplane.apply(plan, signal);
      const seen = await dataplane.observe(signal);
      t.equal(dataplane.planner.countRules(seen), 8 + 2 * (count - 1));
      return {
        asked: asked.splice(0),
        calls: kernel.takeCalls().filter((call) => !call.startsWith("filterTables")),
        seen,
      };
    };
    const listings = ["iptables-nft -S EXCLUSIVE_DNAT", "iptables-nft -S EXCLUSIVE_SNAT"];
    const quiet = await lead(50);
    t.same(quiet.asked, ["EXCLUSIVE_DNAT 50 of 100", "EXCLUSIVE_SNAT 50 of 100"]);
    t.same(quiet.calls, listings, "and only they are read back");

    isQuiet = false;
    const busy = await lead(20);
    t.same(busy.asked, ["EXCLUSIVE_DNAT 30 of 50", "EXCLUSIVE_SNAT 30 of 50"], "once");
    t.equal(busy.calls[0], "iptables-nft-restore", "the rest is the tool's");
    const left = dataplane.plan(many(20), busy.seen, "open").changes;
    t.same(
      left.filter(({ subsystem }) => subsystem === "rule"),
      [],
    );

    isQuiet = true;
    kernel.meddle("-A EXCLUSIVE_SNAT -s 192.0.2.1/32 -j RETURN");
    const meddled = await lead(20);
    t.same(meddled.asked, ["EXCLUSIVE_SNAT 1 of 21"], "what others put there, too");
    const grown = await lead(21);
    t.same(grown.asked, [], "nothing that adds");
    t.equal(grown.calls[0], "iptables-nft-restore");

    for (const [when, count, left] of [
      ["before", 20, 21],
      ["after", 19, 19],
    ] as const) {
      isLost = when;
      await t.rejects(lead(count), { code: "netlink-failed" }, "what became of it a reading tells");
      t.equal(dataplane.planner.countRules(await dataplane.observe(signal)), 8 + 2 * (left - 1), when);
    }
    isLost = "not";
    await lead(5);
  },
);

t.test("a legacy COMMIT that failed is tried again, a few times", async (t) => {
  const kernel = new FakeKernel();
  let failures = 2;
  kernel.fail = (input) => {
    if (!input.startsWith("*nat") || failures-- <= 0) return undefined;
    const line = input.split("\n").length - 1;
    return { exitCode: 1, stdout: "", stderr: `iptables-restore: line ${line} failed\n` };
  };
  const dataplane = await converge(kernel, "legacy");
  t.equal(dataplane.planner.missing(one, await dataplane.observe(signal)).size, 0);

  failures = Number.POSITIVE_INFINITY;
  const restores = kernel.calls.length;
  await t.rejects(converge(kernel, "legacy", emptyProgram), { code: "rules-refused" });
  t.equal(kernel.calls.slice(restores).filter((call) => call.endsWith("-restore")).length, 4);
});

t.test("an unexplained refusal reports the kernel's text and the line", async (t) => {
  const kernel = new FakeKernel();
  const words = "line 10: RULE_APPEND failed (Invalid argument): rule in chain EXCLUSIVE_DNAT";
  kernel.fail = (input) =>
    input.startsWith("*nat")
      ? { exitCode: 4, stdout: "", stderr: `iptables-nft-restore: \n${words}\n` }
      : undefined;
  const refused = await converge(kernel, "nft").then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(refused instanceof GatewayError)) throw new Error("it was not refused");
  t.equal(refused.code, "rules-refused");
  t.match(refused.message, words);
  t.match(refused.details, { table: "nat", line: /^-A / });
  t.equal(kernel.calls.filter((call) => call.endsWith("-restore")).length, 2, "mangle, then nat once");
  t.same(kernel.nat.rules("EXCLUSIVE_DNAT"), []);
});

t.test("an error that no rule caused is not rules-refused", async (t) => {
  const cases: readonly (readonly [stderr: string, exitCode: number])[] = [
    ["iptables-restore v1.8.9 (legacy): unable to initialize table 'nat'\n\nError occurred at line: 1\n", 3],
    [
      "iptables-nft-restore: Could not fetch rule set generation id: Permission denied (you must be root)\n",
      4,
    ],
    ["Another app is currently holding the xtables lock. Stopped waiting after 5s.\n", 4],
  ];
  for (const [stderr, exitCode] of cases) {
    const kernel = new FakeKernel();
    kernel.fail = () => ({ exitCode, stdout: "", stderr });
    await t.rejects(converge(kernel, "legacy"), { code: "command-failed" }, stderr);
  }
});

t.test("stop lets the current transaction end and starts no other", async (t) => {
  const kernel = new FakeKernel();
  const controller = new AbortController();
  const dataplane = iptablesRules({ run: kernel.run, variant: "legacy" });
  const plan = dataplane.plan(one, await dataplane.observe(signal), "open");
  kernel.fail = () => {
    controller.abort(new Error("stopping"));
    return undefined;
  };
  await t.rejects(dataplane.apply(plan, controller.signal), { message: "stopping" });
  t.equal(kernel.calls.filter((call) => call.endsWith("-restore")).length, 1);
});

t.test("the variant", async (t) => {
  const empty = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";
  const definition = "*nat\n:DNAT_FILTER - [0:0]\n-A DNAT_FILTER -j EXCLUSIVE_DNAT\nCOMMIT\n";
  const rules =
    "*nat\n:EXCLUSIVE_DNAT - [0:0]\n-A EXCLUSIVE_DNAT -d 203.0.113.1/32 -j DNAT --to-destination 10.0.0.1\nCOMMIT\n";
  const failed = (ending: string) => new GatewayError("command-failed", ending, { details: { ending } });
  const choose = (nft: string | GatewayError, legacy: string | GatewayError) => {
    const run: Run = async ([command]) => {
      const answer = command === "iptables-nft-save" ? nft : legacy;
      if (answer instanceof GatewayError) throw answer;
      return { exitCode: 0, stdout: answer, stderr: "" };
    };
    return chooseVariant(run, "auto", ipv4, signal);
  };
  const cases: readonly (readonly [string | GatewayError, string | GatewayError, string])[] = [
    [empty, "", "nft"],
    [rules, "", "nft"],
    [empty, rules, "legacy"],
    [definition, rules, "legacy"],
    [rules, definition, "nft"],
    [definition, definition, "nft"],
    [empty, definition, "legacy"],
    [failed("exited"), "", "legacy"],
    [failed("not-started"), rules, "legacy"],
    [rules, failed("not-started"), "nft"],
  ];
  for (const [nft, legacy, variant] of cases)
    t.same(await choose(nft, legacy), { kind: "chosen", variant }, `${nft} | ${legacy}`);
  t.match(await choose(rules, rules), { kind: "mixed", message: "1 in nft, 1 in legacy" });
  await t.rejects(choose(failed("timed-out"), rules), { code: "command-failed" }, "it may hold anything");
  await t.rejects(choose(failed("exited"), failed("exited")), { code: "command-failed" });
  await t.rejects(choose("*nat\n", rules), { code: "unreadable" });
  const never: Run = () => Promise.reject(new Error("asked"));
  t.same(await chooseVariant(never, "legacy", ipv4, signal), { kind: "chosen", variant: "legacy" });
});

t.test("an expected reading returns the expected object, another reading its own value", async (t) => {
  const kernel = new FakeKernel();
  await converge(kernel, "legacy");
  const ruleset = new IptablesRuleset("legacy", { family: ipv4, run: kernel.run });
  let expected: RuleDump | undefined;
  const [right, wrong] = ["10.0.0.1", "10.0.0.9"].map((to) =>
    parseRule(`-d 203.0.113.1/32 -j DNAT --to-destination ${to}`, ipv4),
  );
  const expect = (rule = right) =>
    (expected = new Map([["nat", new Map([["EXCLUSIVE_DNAT", rule === undefined ? [] : [rule]]])]]));
  const read = async () => {
    const { rules } = await ruleset.readAll({ last: undefined, expected }, signal);
    return rules.get("nat")?.get("EXCLUSIVE_DNAT")?.[0];
  };
  expect();
  t.equal(await read(), right);
  expect(wrong);
  const real = await read();
  t.equal(real?.text, right?.text);
  kernel.meddle(`-D EXCLUSIVE_DNAT ${right?.raw}`);
  expect();
  t.equal(await read(), undefined);
});

/** The rules of each chain as the kernel prints them. */
function textsOf({ rules }: IptablesObserved): readonly unknown[] {
  return [...rules].map(([table, chains]) => [
    table,
    [...chains].map(([chain, rules]) => [chain, rules.map(({ raw }) => raw)]),
  ]);
}
