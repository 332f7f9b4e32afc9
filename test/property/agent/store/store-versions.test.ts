/** Upgrades, downgrades, writes of either version, compactions and kills in random order: nothing is lost. */
import fc from "fast-check";
import t from "tap";
import type { Codec } from "../../../../agent/store/codec.ts";
import { journalName } from "../../../../agent/store/set-aside.ts";
import { stateCodec } from "../../../../agent/store/state-codec.ts";
import { startStore } from "../../../../agent/store/store.ts";
import { FakeDisk } from "../../../support/fake-disk.ts";
import { jsonValues } from "../../../support/json-values.ts";
import { type NewerChange, newerCodec } from "../../../support/newer-codec.ts";
import { recordedChange } from "../../../support/state-arbitraries.ts";

const older = stateCodec();
const newer = newerCodec();
const quiet = { info() {}, warn() {}, error() {} };

const name = fc.integer({ min: 0, max: 7 }).map((number) => `object-${number}.example`);
const count = fc.nat(1_000);
const anything = jsonValues({ maxDepth: 2 });
const type = <T extends string>(value: T) => fc.constant(value);

/** Fields and members that only the newer version knows. */
const ofNewer: fc.Arbitrary<object> = fc.oneof(
  fc.record({
    type: type("put"),
    kind: type("quota"),
    object: fc.record({
      spec: fc.record({ name, eip: name, bytes: count }),
      revision: count,
      creation: fc.nat(2_000_000),
    }),
  }),
  fc.record({ type: type("delete"), kind: type("quota"), name }),
  fc.record({
    type: type("put"),
    kind: type("eip"),
    object: fc.record({
      spec: fc.record({ name, address: fc.constant("203.0.113.9/24"), pooled: fc.boolean() }),
      revision: count,
      creation: count,
    }),
  }),
  fc.record({ type: type("usage"), eip: name, bytes: count }),
  fc.record({ type: type("ledger-class"), class: fc.string({ maxLength: 3 }) }),
);

/** What a third, even newer version wrote, anywhere in a change that both know. */
const ofNewest: fc.Arbitrary<object> = fc
  .tuple(fc.oneof(recordedChange, ofNewer), fc.constantFrom("change", "object", "spec", "type"), anything)
  .map(([change, where, value]) => {
    const copy = JSON.parse(JSON.stringify(change));
    const place = where === "spec" ? copy.object?.spec : where === "object" ? copy.object : copy;
    if (where === "type") copy.type = `newest-${copy.type}`;
    else Object.assign(place ?? copy, { newest: value });
    return copy;
  });

const phase = fc.record({
  isNewer: fc.boolean(),
  writes: fc.array(
    fc.array(fc.oneof({ weight: 3, arbitrary: recordedChange }, ofNewer, ofNewest), {
      minLength: 1,
      maxLength: 5,
    }),
    { maxLength: 6 },
  ),
  /** Where the journal ends in its last line after a kill. 0: the agent stopped normally. */
  cut: fc.oneof(fc.constant(0), fc.nat(200)),
  smallestCompacted: fc.constantFrom(1, 800, 1e6),
});

/**
 * Plays one phase: opens, writes and ends.
 * @returns how many writes survive.
 */
async function live<State, Change>(
  codec: Codec<State, Change>,
  disk: FakeDisk,
  writes: readonly (readonly object[])[],
  { cut, smallestCompacted }: { readonly cut: number; readonly smallestCompacted: number },
): Promise<number> {
  const store = await startStore({
    directory: disk.directory(),
    codec,
    now: () => 0,
    log: quiet,
    smallestCompacted,
  });
  if (!["fresh", "intact", "torn"].includes(store.recovery.recovered)) t.fail(store.recovery.detail);
  for (const write of writes) {
    const changes = codec.decodeChanges(write);
    await store.transact(() => ({ changes, result: undefined }));
  }
  await store.close();
  const bytes = disk.content(journalName);
  if (cut === 0 || bytes === undefined || writes.length === 0) return writes.length;
  const line = bytes.lastIndexOf("\n", -2) + 1;
  // A snapshot is one line, renamed into place as a whole.
  if (line === 0 || cut >= bytes.length - line) return writes.length;
  disk.put(journalName, Buffer.from(bytes.subarray(0, bytes.length - cut)));
  return writes.length - 1;
}

t.test("the newer version finds everything, whichever version wrote it", async (t) => {
  let downgrades = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(phase, { minLength: 1, maxLength: 6 }), async (phases) => {
      const disk = new FakeDisk();
      let model = newer.empty;
      for (const { isNewer, writes, ...ending } of phases) {
        // The older version writes only what it knows.
        const known = isNewer ? writes : writes.map((write) => write.filter(isKnownToOlder));
        const wanted = known.filter((write) => write.length > 0);
        const survived = isNewer
          ? await live(newer, disk, wanted, ending)
          : await live(older, disk, wanted, ending);
        const changes = wanted
          .slice(0, survived)
          .flatMap((write): readonly NewerChange[] => newer.decodeChanges(write));
        model = newer.reduce(model, changes);
        if (!isNewer) downgrades++;
        const { current } = await startStore({
          directory: disk.directory(),
          codec: newer,
          now: () => 0,
          log: quiet,
        });
        t.strictSame(plain(newer.encodeState(current)), plain(newer.encodeState(model)));
      }
    }),
    { numRuns: 250 },
  );
  t.ok(downgrades > 200, `${downgrades} downgrades`);
});

function isKnownToOlder(change: object): boolean {
  const [decoded, ...more] = older.decodeChanges([change]);
  if (decoded === undefined) return false;
  return (
    decoded.type !== "unrecognized" &&
    !("whole" in decoded) &&
    more.every(({ type }) => type !== "unrecognized")
  );
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
