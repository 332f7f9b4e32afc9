/** What the driver of accounting does with counters, refusals, kernels without nf_tables, and commits of others. */
import t from "tap";
import { createAccountingDriver } from "../../../../../agent/kernel/accounting/driver.ts";
import type { CommitJournal } from "../../../../../agent/kernel/commit-journal.ts";
import type { ConversingConnection } from "../../../../../agent/kernel/netlink/connection.ts";
import { runSync } from "../../../../../lib/chunked.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import { concatBytes, netU32Attribute } from "../../../../../lib/netlink/attributes.ts";
import { controlType, type NetlinkMessage } from "../../../../../lib/netlink/message.ts";
import { counterSets, type RawCounts } from "../../../../../lib/nftables/accounting.ts";
import type { Commit } from "../../../../../lib/nftables/commits.ts";
import { accountingLines, encodeAccounting } from "../../../../../lib/nftables/encode-accounting.ts";
import { anyHeader, messageType } from "../../../../../lib/nftables/wire.ts";
import { accountingStep } from "../../../../../lib/plan/accounting/steps.ts";

const signal = new AbortController().signal;
const definition = [{ name: "net1" as InterfaceName, mtu: 1_500 }];
const [one, two] = ["203.0.113.1", "203.0.113.2"] as const;
const label = "ip natgw_acct";

/** Answers dumps with the messages of the last commits, as if the kernel told a table as it was given. */
class FakeNftables {
  readonly commits: (readonly NetlinkMessage[])[] = [];
  generation = 1;
  exists = true;
  refuses: "ENOTSUP" | "ENOENT" | undefined;
  /** The next commits find that somebody else was faster. */
  stale = 0;
  dumps = 0;
  counts: RawCounts = new Map();
  #held: readonly NetlinkMessage[] = [];
  others: Commit["tables"] = new Map();

  /** Somebody else's commit. */
  commitElsewhere(table: string): void {
    this.generation++;
    this.others = new Map([
      [table, { isRemade: true, growth: new Map(), keys: new Map() }],
    ]) as Commit["tables"];
  }

  readonly netlink: ConversingConnection = {
    request: async () => {},
    batch: async () => [],
    close() {},
    dump: async ({ type }, onMessage) => {
      this.dumps++;
      const answerOf = type - 1;
      const seeds = [
        ...runSync(
          encodeAccounting(
            { definition: undefined, add: [...this.counts.keys()], remove: [], strays: [] },
            this.counts,
          ),
        ),
      ].slice(1);
      const elements = type === messageType.getElements ? this.#elements(seeds) : undefined;
      for (const { type: held, payload } of elements ?? this.#held)
        if (held === answerOf || (elements && held === messageType.newElements))
          onMessage(
            held,
            new DataView(payload.buffer, payload.byteOffset, payload.byteLength),
            0,
            payload.length,
          );
    },
    converse: async (messages, onAnswer) => {
      if (!this.exists) throw new GatewayError("netlink-failed", "none", { details: { code: "EINVAL" } });
      const answer = (index: number, type: number, payload: Uint8Array) =>
        onAnswer(
          index,
          { type, flags: 0, sequence: 0, length: 0, port: 0 } as never,
          new DataView(payload.buffer, payload.byteOffset, payload.byteLength),
          0,
          payload.length,
        );
      if (messages.length === 1) {
        answer(0, messageType.newGeneration, concatBytes(anyHeader, netU32Attribute(1, this.generation)));
        return;
      }
      const errno =
        this.stale > 0 ? 85 : this.refuses === undefined ? 0 : { ENOTSUP: 95, ENOENT: 2 }[this.refuses];
      if (errno === 85) this.stale--;
      const error = new Uint8Array(20);
      new DataView(error.buffer).setInt32(0, -errno, true);
      if (errno === 0) {
        this.generation++;
        const written = messages.slice(1, -1);
        this.commits.push(written);
        if (written.some(({ type }) => type === messageType.newTable)) this.#held = written;
      }
      answer(errno === 0 ? messages.length - 2 : 1, controlType.error, error);
    },
  };

  /** Which set a dump is about cannot be told apart here: the EIPs come first, then each set of counters. */
  #asked = 0;
  #elements(seeds: readonly NetlinkMessage[]): readonly NetlinkMessage[] {
    const which = this.#asked++ % counterSets.length;
    return seeds.filter((_, at) => at === which);
  }

  readonly journal: CommitJournal = {
    restart: () => {
      this.others = new Map();
    },
    beginReading: () => () => {},
    since: (generation) =>
      generation === this.generation
        ? { generation, tables: new Map() }
        : { generation: this.generation, tables: this.others },
    forget() {},
    close() {},
  };
}

t.test("a kernel without nf_tables cannot count", async (t) => {
  const kernel = new FakeNftables();
  kernel.exists = false;
  const driver = createAccountingDriver(kernel);
  t.equal(await driver.observe(signal), undefined);
  t.ok(await driver.isCurrent(signal));
  t.same(await driver.readCounts(signal), new Map());
  t.notOk(driver.isCounting);
});

t.test(
  "a table that was written is known without reading its elements, however the kernel tells it",
  async (t) => {
    const kernel = new FakeNftables();
    const driver = createAccountingDriver(kernel);
    t.match(await driver.observe(signal), { definition: undefined });
    const step = accountingStep({ definition: { make: definition, isReplaced: false }, add: [one, two] });
    t.same(await driver.apply([step], signal), []);
    const observed = await driver.observe(signal);
    t.same(observed, {
      definition: accountingLines(definition),
      eips: new Set([one, two]),
      strays: new Set(),
    });
    t.ok(driver.isCounting);
    const { dumps } = kernel;
    t.equal(await driver.observe(signal), observed, "nobody committed");
    kernel.commitElsewhere("ip nat");
    t.equal(await driver.observe(signal), observed, "somebody committed elsewhere");
    t.equal(kernel.dumps, dumps, "nothing was read for it");
    kernel.commitElsewhere(label);
    await driver.observe(signal);
    t.ok(kernel.dumps > dumps, "somebody wrote to the table");
  },
);

t.test("a table that replaces another begins at what that one counted", async (t) => {
  const kernel = new FakeNftables();
  const driver = createAccountingDriver(kernel);
  await driver.observe(signal);
  await driver.apply(
    [accountingStep({ definition: { make: definition, isReplaced: false }, add: [one, two] })],
    signal,
  );
  await driver.observe(signal);
  const all = { packets: 7, bytes: 700 };
  kernel.counts = new Map([[one, Object.fromEntries(counterSets.map((set) => [set, all]))]]);
  const replacement = accountingStep({ definition: { make: definition, isReplaced: true }, add: [one, two] });
  t.same(await driver.apply([replacement], signal), []);
  const expected = runSync(
    encodeAccounting(
      replacement.transaction,
      new Map([[one, Object.fromEntries(counterSets.map((set) => [set, all]))]]),
    ),
  );
  const sent = kernel.commits.at(-1)?.map(({ payload }) => Buffer.from(payload).toString("hex"));
  t.same(
    sent,
    expected.map(({ payload }) => Buffer.from(payload).toString("hex")),
  );
  kernel.counts = new Map();
  await driver.apply([accountingStep({ remove: [one] })], signal);
  t.equal(kernel.commits.at(-1)?.length, 2 * counterSets.length, "then its counters are removed, too");
  await driver.apply([accountingStep({ add: [one] })], signal);
  t.equal(kernel.commits.at(-1)?.length, 1, "an EIP that comes back begins at 0");
});

t.test("a kernel that refuses the table is not asked again for ten minutes", async (t) => {
  const kernel = new FakeNftables();
  let nowMs = 0;
  const driver = createAccountingDriver({ ...kernel, nowMs: () => nowMs });
  await driver.observe(signal);
  kernel.refuses = "ENOENT";
  const race = accountingStep({ definition: { make: definition, isReplaced: true }, add: [one] });
  t.match(await driver.apply([race], signal), [{ code: "ENOENT" }]);
  t.match(await driver.observe(signal), { definition: undefined }, "somebody else deleted the table");
  kernel.refuses = "ENOTSUP";
  const step = accountingStep({ definition: { make: definition, isReplaced: false }, add: [one] });
  t.match(await driver.apply([step], signal), [{ code: "ENOTSUP", step }]);
  t.equal(await driver.observe(signal), undefined);
  nowMs = 600_000;
  t.match(await driver.observe(signal), { definition: undefined });
});

t.test("a commit that loses a race is tried again", async (t) => {
  const kernel = new FakeNftables();
  const driver = createAccountingDriver(kernel);
  await driver.observe(signal);
  kernel.stale = 2;
  const step = accountingStep({ definition: { make: definition, isReplaced: false }, add: [one] });
  t.same(await driver.apply([step], signal), []);
  kernel.stale = 3;
  t.match(await driver.apply([accountingStep({ add: [two] })], signal), [{ code: "netlink-failed" }]);
});
