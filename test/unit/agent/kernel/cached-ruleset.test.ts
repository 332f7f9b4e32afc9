/** The cache around a plain reader and writer: what it saves, and that it never changes a result. */
import fc from "fast-check";
import t from "tap";
import { CachedRuleset } from "../../../../agent/kernel/cached-ruleset.ts";
import type { CommitJournal } from "../../../../agent/kernel/commit-journal.ts";
import type { WriteOutcome } from "../../../../agent/kernel/drivers.ts";
import type { KnownRuleset, PlainRuleset, StepResult } from "../../../../agent/kernel/plain-ruleset.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import { type Commit, commitsSince } from "../../../../lib/nftables/commits.ts";

const signal = new AbortController().signal;

type Cells = ReadonlyMap<string, number>;

interface Write {
  readonly kind: "a" | "b";
  readonly key: string;
  readonly value: number;
}

interface Payload {
  readonly steps: readonly Write[];
  readonly base?: Cells;
  readonly expected?: string;
}

/** Those whose writes change a digest in a way that can be predicted. */
const isCounted = (key: string) => key >= "r" && key < "t";

/** A kernel that stores named numbers. Its journal may report writes of other programs. */
class FakeRuleset implements PlainRuleset<Cells, Payload>, CommitJournal {
  readonly stampKind: "generation" | "digest";
  readonly isReadingAtomic: boolean;
  cells = new Map<string, number>();
  generation = 1;
  #countedWrites = 0;
  readonly asked: string[] = [];
  /** The result of the next write. */
  end: "done" | "raced" | "refused" | "lost" | "lost after" = "done";
  /** Called once during a reading: another program writes. */
  meanwhile: (() => void) | undefined;
  #commits: Commit[] = [];

  constructor(stampKind: "generation" | "digest", isReadingAtomic: boolean) {
    this.stampKind = stampKind;
    this.isReadingAtomic = isReadingAtomic;
  }

  readStamp = async () => {
    this.asked.push("stamp");
    return this.#now();
  };

  digestAfter(digest: string, { key }: Write): string | undefined {
    const [cells, writes] = digest.split(" ");
    return isCounted(key) ? `${cells} ${Number(writes) + 1}` : undefined;
  }

  async isStillAt(digest: string): Promise<boolean> {
    this.asked.push("still");
    return digest.endsWith(` ${this.#countedWrites}`);
  }

  async readAll(earlier: { readonly expected: string | undefined }): Promise<Cells> {
    this.asked.push(earlier.expected === undefined ? "all" : `all, expecting ${earlier.expected}`);
    return this.#read([...this.cells.keys()], new Map());
  }

  async readWritten(
    last: Cells,
    written: readonly Write[],
    { isStamped }: { readonly isStamped: boolean },
  ): Promise<Cells | undefined> {
    const keys = [...new Set(written.map(({ key }) => key))];
    const isWhole = this.stampKind === "digest" && !isStamped;
    this.asked.push(isWhole ? "all" : keys.join());
    const read = isWhole ? await this.#read([...this.cells.keys()], new Map()) : await this.#read(keys, last);
    const isElsewhere = [...new Set([...last.keys(), ...read.keys()])].some(
      (key) => !keys.includes(key) && last.get(key) !== read.get(key),
    );
    return isElsewhere ? undefined : read;
  }

  async readTouched(last: Cells, commit: Commit): Promise<Cells | undefined> {
    const keys = [...commit.tables.keys()];
    this.asked.push(keys.join());
    return keys.length > 2 ? undefined : this.#read(keys, last);
  }

  async write(step: Write, known: KnownRuleset<Cells, Payload> | undefined): Promise<StepResult<Payload>> {
    this.asked.push(`write ${step.key}`);
    const { end } = this;
    this.end = "done";
    const error = new GatewayError("netlink-failed", end);
    if (end === "lost") throw error;
    const isStale = known?.stamp !== undefined && known.stamp !== this.#now();
    if (isStale || end === "raced") return { failure: { kind: "raced", error }, isReadingValid: false };
    if (end === "refused") return { failure: { kind: "refused", error }, isReadingValid: true };
    this.#commit(step.key, step.value);
    if (end === "lost after") throw error;
    return { written: step };
  }

  isReadByEvents = () => true;
  isSame = (one: Cells, other: Cells) =>
    one.size === other.size && [...one].every(([key, value]) => other.get(key) === value);

  /** A write of another program. */
  meddle(key: string, value: number, isTold = true): void {
    this.#commit(key, value);
    if (!isTold) this.#commits.pop();
  }

  restart = () => {
    this.#commits = [];
  };
  beginReading = () => () => undefined;
  since = (generation: number) => {
    const commit = commitsSince(generation, this.#commits);
    return commit?.generation === this.generation ? commit : undefined;
  };
  forget = () => undefined;
  close = () => undefined;

  takeAsked(): readonly string[] {
    return this.asked.splice(0);
  }

  #now() {
    if (this.stampKind === "generation") return this.generation;
    const cells = [...this.cells].filter(([key]) => !isCounted(key)).sort();
    return `${JSON.stringify(cells)} ${this.#countedWrites}`;
  }

  #commit(key: string, value: number): void {
    if (value === 0) this.cells.delete(key);
    else this.cells.set(key, value);
    this.generation++;
    if (isCounted(key)) this.#countedWrites++;
    const touched = { isRemade: false, growth: new Map(), keys: new Map() };
    this.#commits.push({ generation: this.generation, tables: new Map([[`ip ${key}`, touched]]) });
  }

  async #read(keys: readonly string[], before: Cells): Promise<Cells> {
    const cells = new Map(before);
    for (const name of keys) {
      const key = name.replace("ip ", "");
      const value = this.cells.get(key);
      if (value === undefined) cells.delete(key);
      else cells.set(key, value);
    }
    const { meanwhile } = this;
    this.meanwhile = undefined;
    meanwhile?.();
    await Promise.resolve();
    return cells;
  }
}

function world(stampKind: "generation" | "digest" = "generation", isReadingAtomic = false) {
  const kernel = new FakeRuleset(stampKind, isReadingAtomic);
  let nowMs = 0;
  const journal = stampKind === "generation" ? kernel : undefined;
  const cached = new CachedRuleset<Cells, Payload>(kernel, { journal, nowMs: () => nowMs });
  const step = (key: string, value = 1, kind: "a" | "b" = "a"): Write => ({ kind, key, value });
  const later = (ms: number) => {
    nowMs += ms;
  };
  return { kernel, cached, step, later };
}

const kinds = (outcome: WriteOutcome<Payload>) => outcome.kind;

t.test("readings at the same time share one: the later one costs a stamp", async (t) => {
  const { kernel, cached } = world();
  kernel.meddle("x", 1);
  const [one, other] = await Promise.all([cached.read(signal), cached.read(signal)]);
  t.equal(one, other);
  t.same(kernel.takeAsked(), ["stamp", "all", "stamp", "stamp"]);
  const [first, second] = [cached.read(signal), cached.read(signal)];
  kernel.meddle("y", 2);
  t.same([...(await first)], [...(await second)], "what was written before it reads is in it");
  t.equal((await second).get("y"), 2);
});

t.test("a late failed reading does not affect the next one", async (t) => {
  const { kernel, cached } = world();
  kernel.readAll = async () => {
    kernel.readAll = FakeRuleset.prototype.readAll;
    throw new GatewayError("unreadable", "cut short");
  };
  const [one, other] = [cached.read(signal), cached.read(signal)];
  await t.rejects(one, { code: "unreadable" });
  t.equal((await other).size, 0);
});

for (const stampKind of ["generation", "digest"] as const) {
  t.test(
    `by ${stampKind}: after forget everything is read, though the stamp says that nothing changed`,
    async (t) => {
      const { kernel, cached, step } = world(stampKind);
      kernel.meddle("x", 1);
      const base = await cached.read(signal);
      kernel.readStamp = async () => (stampKind === "generation" ? kernel.generation : "the same");
      await cached.read(signal);
      // Behind the back of every stamp.
      kernel.cells.set("x", 2);
      await cached.read(signal);
      const stale = (await cached.read(signal)).get("x");
      if (stampKind === "generation") t.equal(stale, 1, "the test can tell");
      cached.forget();
      t.equal(await cached.verified(signal), undefined, "nothing is proved");
      kernel.readAll = async () => {
        kernel.readAll = FakeRuleset.prototype.readAll;
        throw new GatewayError("unreadable", "cut short");
      };
      await t.rejects(cached.read(signal), { code: "unreadable" });
      t.equal((await cached.read(signal)).get("x"), 2, "also after a failed reading");
      t.equal(kinds(await cached.write({ base, steps: [step("y")] }, signal)), "raced");
      kernel.takeAsked();
      await cached.read(signal);
      t.notOk(kernel.takeAsked().includes("all"), "once");
    },
  );
}

t.test("a write waits for the reading in progress, and only the write is read back", async (t) => {
  const { kernel, cached, step } = world();
  await cached.read(signal);
  kernel.takeAsked();
  const reading = cached.read(signal);
  const writing = cached.write({ steps: [step("x")] }, signal);
  t.equal((await reading).size, 0);
  t.equal(kinds(await writing), "done");
  t.equal((await cached.read(signal)).get("x"), 1);
  t.same(kernel.takeAsked(), ["stamp", "write x", "stamp", "x", "stamp"]);
});

t.test("a plan based on another reading is not written", async (t) => {
  const { kernel, cached, step } = world();
  const base = await cached.read(signal);
  kernel.takeAsked();
  t.equal(kinds(await cached.write({ base: new Map(), steps: [step("x")] }, signal)), "raced");
  t.same(kernel.takeAsked(), [], "nor asked about");
  t.equal(kinds(await cached.write({ base, steps: [step("x", 1, "b")] }, signal)), "done");
  t.equal(kinds(await cached.write({ base, steps: [step("y", 1, "a")] }, signal)), "done", "of another kind");
  t.equal(kinds(await cached.write({ base, steps: [step("z", 1, "b")] }, signal)), "raced", "of the same");
  t.equal(kinds(await cached.write({ base: new Map(), steps: [] }, signal)), "done", "nothing at all");
  t.same([...(await cached.read(signal)).keys()], ["x", "y"]);
});

t.test("an unknown result invalidates the last reading, a refusal does not", async (t) => {
  const { kernel, cached, step } = world();
  const base = await cached.read(signal);
  kernel.end = "refused";
  t.equal(kinds(await cached.write({ base, steps: [step("x"), step("y")] }, signal)), "refused");
  kernel.takeAsked();
  t.equal(await cached.read(signal), base);
  t.same(kernel.takeAsked(), ["stamp"]);
  for (const end of ["raced", "lost", "lost after"] as const) {
    await cached.read(signal);
    kernel.end = end;
    const result = await cached.write({ steps: [step("x"), step("y")] }, signal).then(kinds, () => "thrown");
    t.equal(result, end === "raced" ? "raced" : "thrown");
    kernel.takeAsked();
    t.same((await cached.read(signal)).has("x"), end === "lost after");
    t.ok(kernel.takeAsked().includes("all"), end);
  }
  t.notOk(kernel.cells.has("y"), "no step after one that failed");
});

t.test("stop lets the current step end and starts no other", async (t) => {
  const { kernel, cached, step } = world();
  const controller = new AbortController();
  const write = kernel.write.bind(kernel);
  kernel.write = (...given) => {
    controller.abort(new Error("stopping"));
    return write(...given);
  };
  const steps = [step("x"), step("y")];
  await t.rejects(cached.write({ steps }, controller.signal), { message: "stopping" });
  await t.rejects(cached.write({ steps }, controller.signal), { message: "stopping" });
  t.same([...kernel.cells.keys()], ["x"]);
});

for (const stampKind of ["generation", "digest"] as const) {
  t.test(`by ${stampKind}: the expected ruleset is read ahead, once`, async (t) => {
    const { kernel, cached, step } = world(stampKind, true);
    await cached.read(signal);
    kernel.takeAsked();
    t.equal(kinds(await cached.write({ steps: [step("x")], expected: "x" }, signal)), "done");
    t.equal((await cached.read(signal)).get("x"), 1);
    const asked = kernel.takeAsked();
    t.same(
      asked,
      stampKind === "digest"
        ? ["write x", "stamp", "all, expecting x", "stamp"]
        : ["write x", "stamp", "x", "stamp", "stamp"],
    );
    kernel.meddle("y", 1);
    t.same([...(await cached.read(signal)).keys()], ["x", "y"]);
    t.notOk(kernel.takeAsked().some((one) => one.includes("expecting")));
  });

  t.test(`by ${stampKind}: a cached reading equals a plain one`, async () => {
    const key = fc.constantFrom("p", "q", "r", "s");
    const act = fc.record({
      verb: fc.constantFrom(
        "read",
        "read",
        "verified",
        "base",
        "own",
        "own",
        "other",
        "silent",
        "meanwhile",
        "late",
      ),
      end: fc.constantFrom("done", "done", "raced", "refused", "lost", "lost after"),
      key,
      value: fc.nat({ max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 20 }), fc.boolean(), async (acts, isAtomic) => {
        const { kernel, cached, step, later } = world(stampKind, isAtomic);
        const expectTrue = (read: Cells | undefined) => {
          if (read !== undefined && !kernel.isSame(read, kernel.cells))
            throw new Error(`${JSON.stringify([...read])} is not ${JSON.stringify([...kernel.cells])}`);
        };
        for (const { verb, end, key, value } of acts) {
          if (verb === "read") expectTrue(await cached.read(signal));
          else if (verb === "verified") expectTrue(await cached.verified(signal));
          else if (verb === "other") kernel.meddle(key, value);
          else if (verb === "silent") kernel.meddle(key, value, false);
          else if (verb === "late") later(400_000);
          else if (verb === "meanwhile") {
            kernel.meanwhile = () => kernel.meddle(key, value);
            await cached.read(signal);
            kernel.meanwhile = undefined;
          } else if (verb === "own") {
            kernel.end = end;
            await cached.write({ steps: [step(key, value)] }, signal).catch(() => undefined);
            kernel.end = "done";
          } else if ((await cached.base(signal)) !== undefined) {
            const outcome = await cached.write({ steps: [step(key, value)] }, signal);
            if (outcome.kind === "done") expectTrue(await cached.verify(signal));
          }
        }
        expectTrue(await cached.read(signal));
      }),
      { numRuns: 500 },
    );
  });
}

t.test("by digest: a step whose digest is predicted is read back alone", async (t) => {
  const { kernel, cached, step } = world("digest", true);
  kernel.meddle("x", 1);
  await cached.read(signal);
  await cached.write({ steps: [step("r")] }, signal);
  kernel.takeAsked();
  t.same([...(await cached.read(signal)).keys()], ["x", "r"]);
  t.same(kernel.takeAsked(), ["stamp", "r", "still"]);
  await cached.write({ steps: [step("r", 2), step("y")] }, signal);
  t.equal((await cached.read(signal)).get("y"), 1);
  t.ok(kernel.takeAsked().includes("all"), "not so with others");
});

t.test("foreign writes during catching up are read too", async (t) => {
  const { kernel, cached } = world();
  await cached.read(signal);
  kernel.meddle("x", 1);
  kernel.meanwhile = () => kernel.meddle("y", 1);
  kernel.takeAsked();
  t.same([...(await cached.read(signal)).keys()], ["x", "y"]);
  t.same(kernel.takeAsked(), ["stamp", "ip x", "stamp", "ip x,ip y", "stamp"]);
});

t.test("a commit that left the reading as it was proves it as well as none", async (t) => {
  const fake = new FakeRuleset("generation", false);
  fake.meddle("x", 1);
  const cached = new CachedRuleset(fake, { journal: fake });
  const read = await cached.read(signal);
  fake.meddle("x", 1);
  t.equal(await cached.verified(signal), read);
  t.equal(await cached.base(signal), read);
  fake.meddle("x", 2);
  t.equal(await cached.verified(signal), undefined, "this one did not");
  fake.meddle("x", 2, false);
  t.equal(await cached.verified(signal), undefined, "of this one nothing is known");
});

t.test("everything is read periodically", async (t) => {
  const { kernel, cached, later } = world();
  await cached.read(signal);
  kernel.cells.set("x", 1);
  later(599_999);
  t.equal((await cached.read(signal)).size, 0);
  later(1);
  t.equal(await cached.verified(signal), undefined);
  t.equal(await cached.base(signal), undefined);
  t.equal(await cached.verify(signal), undefined);
  t.equal((await cached.read(signal)).size, 1);
});
