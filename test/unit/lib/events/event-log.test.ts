/** The log of events: an object's last change, occurrences within limits, and what is missing. */
import fc from "fast-check";
import t from "tap";
import { ChangeLog } from "../../../../lib/events/change-log.ts";
import { firstSequence, formatEventId, parseEventId } from "../../../../lib/events/event-id.ts";
import { EventLog } from "../../../../lib/events/event-log.ts";
import { isWanted, typesOf } from "../../../../lib/events/filter.ts";
import { TimeMarks } from "../../../../lib/events/time-marks.ts";
import { type ObjectId, objectId } from "../../../../lib/model/names.ts";
import { randomFrom } from "../../../support/random.ts";

const fip = (name: string): ObjectId => objectId("fip", name);
const limits = { objects: 100, deleted: 10, occurrences: { count: 3, bytes: 1_000 } };
const pass = (data = "{}") => ({ type: "pass", about: new Set<ObjectId>(), data }) as const;

const read = (log: EventLog, after: number) =>
  Array.from(log.after(after), (event) => [event.sequence, event.type === "object" ? event.id : event.type]);

t.test("ids", async (t) => {
  const id = { epoch: "3f2a91c0-4097", sequence: 5_120_000_012 };
  t.equal(formatEventId(id), "3f2a91c0-4097.5120000012");
  t.same(parseEventId(formatEventId(id)), id);
  t.same(parseEventId("a.b.7"), { epoch: "a.b", sequence: 7 });
  for (const bad of ["", "7", ".7", "a.", "a.07", "a.-1", "a.1e3", "a b.7", "a.9999999999999999"])
    t.equal(parseEventId(bad), undefined, bad);
  t.ok(firstSequence(2_000) > firstSequence(1_999.9) + 500, "each agent begins above the one before");
});

t.test("an object is in the log once, at its last change", async (t) => {
  const log = new EventLog(100, limits);
  log.touch(fip("a"), false);
  log.touch(fip("b"), false);
  log.add(pass());
  log.touch(fip("a"), true);
  t.same(read(log, 100), [
    [102, "fips/b"],
    [103, "pass"],
    [104, "fips/a"],
  ]);
  t.same(read(log, 103), [[104, "fips/a"]]);
  t.same(read(log, 104), []);
  t.equal(log.head, 104);
  t.equal(log.floor(["object"]), 100);
});

t.test("occurrences: the limit of one type leaves the others", async (t) => {
  const log = new EventLog(0, limits);
  log.add({ ...pass(), type: "degraded" });
  for (let count = 0; count < 5; count++) log.add(pass());
  t.same(read(log, 0), [
    [1, "degraded"],
    [4, "pass"],
    [5, "pass"],
    [6, "pass"],
  ]);
  t.equal(log.floor(["degraded", "object", "resync"]), 0);
  t.equal(log.floor(["pass", "degraded"]), 3, "the passes 2 and 3 are missing");
  log.add({ ...pass("x".repeat(999)), type: "repair" });
  t.same(read(log, 0), [[7, "repair"]], "the bytes of all are bounded");
  t.equal(log.floor(["degraded"]), 1);
  log.add({ ...pass("x".repeat(9_999)), type: "repair" });
  t.same(read(log, 0), [[8, "repair"]], "the last one is kept");
});

t.test("objects and deleted ones are bounded, and the floor tells", async (t) => {
  const log = new ChangeLog(0, { objects: 3, deleted: 1 });
  for (const [index, name] of ["a", "b", "c"].entries()) log.add(fip(name), index + 1, false);
  t.equal(log.floor, 0);
  log.add(fip("d"), 4, false);
  t.equal(log.floor, 1, "a gave way");
  log.add(fip("c"), 5, true);
  log.add(fip("b"), 6, true);
  t.equal(log.floor, 5, "c was deleted first");
  t.equal(log.size, 2);
  log.add(fip("b"), 7, false);
  log.add(fip("c"), 8, true);
  t.equal(log.floor, 5, "one that exists again is not deleted");
  t.same(log.at(log.placeAfter(4)), { place: log.placeAfter(6), id: "fips/b", sequence: 7 });
});

t.test("any changes: readers that stop and go on know the last state of every object", async (t) => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ name: fc.constantFrom(..."abcdefgh"), isDeleted: fc.boolean() }) },
    { weight: 2, arbitrary: fc.constant("read" as const) },
    { weight: 1, arbitrary: fc.constant("pass" as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), fc.integer({ min: 1, max: 9 }), (steps, objects) => {
      const log = new EventLog(7, { ...limits, objects, deleted: 3 });
      const truth = new Map<ObjectId, number>();
      const known = new Map<ObjectId, number>();
      let cursor = 7;
      let changes = 0;
      const catchUp = () => {
        if (cursor < log.floor(["object"])) {
          for (const [id, state] of truth) known.set(id, state);
          cursor = log.head;
        }
        let last = cursor;
        for (const event of log.after(cursor)) {
          if (event.sequence <= last) throw new Error("out of order");
          last = event.sequence;
          if (event.type === "object") known.set(event.id, truth.get(event.id) ?? -1);
        }
        cursor = log.head;
        t.same(known, truth);
      };
      for (const one of steps) {
        if (one === "read") catchUp();
        else if (one === "pass") log.add(pass());
        else {
          truth.set(fip(one.name), ++changes);
          log.touch(fip(one.name), one.isDeleted);
        }
      }
      catchUp();
    }),
    { numRuns: 200 },
  );
});

t.test("a log of many changes stays as long as there are objects", async (t) => {
  const log = new ChangeLog(0, { objects: 10_000, deleted: 10 });
  for (let sequence = 1; sequence <= 100_000; sequence++)
    log.add(fip(`fip-${sequence % 50}`), sequence, false);
  t.equal(log.size, 50);
  t.ok(log.placeAfter(100_000) <= 2 * 50 + 1_024 + 1);
  t.equal(log.floor, 0);
});

t.test(
  "many objects, which change in any order: each is found after any sequence, and places stay few",
  async (t) => {
    const random = randomFrom(3);
    const log = new ChangeLog(0, { objects: 4_000, deleted: 500 });
    // In the order of their last change.
    const truth = new Map<ObjectId, number>();
    for (let sequence = 1; sequence <= 60_000; sequence++) {
      // First in turn, as passes do, then at random.
      const id = fip(`f-${sequence < 20_000 ? sequence % 3_000 : Math.floor(random() ** 3 * 5_000)}`);
      truth.delete(id);
      truth.set(id, sequence);
      log.add(id, sequence, random() < 0.05);
      if (sequence % 1_777 !== 0) continue;
      const after = Math.max(log.floor, Math.floor(random() * sequence));
      const found: [ObjectId, number][] = [];
      for (let next = log.at(log.placeAfter(after)); next !== undefined; next = log.at(next.place + 1))
        found.push([next.id, next.sequence]);
      t.same(
        found,
        [...truth].filter(([, last]) => last > after),
      );
      t.ok(log.placeAfter(sequence) <= 4 * log.size + 2_048, "places");
    }
  },
);

t.test("filters", async (t) => {
  const event = (id: ObjectId) => ({ type: "object", sequence: 1, id }) as const;
  const drift = { type: "drift", sequence: 1, data: "{}", about: new Set([fip("a")]) } as const;
  t.ok(isWanted({}, event(fip("a"))));
  t.ok(isWanted({ kinds: new Set(["fip"]) }, event(fip("a"))));
  t.notOk(isWanted({ kinds: new Set(["eip"]) }, event(fip("a"))));
  t.notOk(isWanted({ names: new Set(["b"]) }, event(fip("a"))));
  t.notOk(isWanted({ types: new Set(["pass"]) }, event(fip("a"))));
  t.ok(isWanted({ kinds: new Set(["fip"]), names: new Set(["a"]) }, drift));
  t.notOk(isWanted({ names: new Set(["b"]) }, drift));
  t.ok(isWanted({ names: new Set(["b"]) }, { ...drift, about: "many" }), "it may be among them");
  t.notOk(isWanted({ names: new Set(["b"]) }, { ...pass(), sequence: 1 }));
  t.same(typesOf({ names: new Set(["b"]) }), ["object", "drift", "repair", "conflict", "resync"]);
  t.same(typesOf({ types: new Set(["pass"]) }), ["pass"]);
});

t.test("which sequence was the last one at a time", async (t) => {
  const marks = new TimeMarks(10_000, 5);
  marks.add(10_500, 6);
  marks.add(11_000, 7);
  for (let second = 12; second < 8_000; second++) marks.add(second * 1_000, second);
  t.equal(marks.at(9_999), undefined);
  t.equal(marks.at(10_999), 5);
  t.equal(marks.at(7_999_999), 7_999);
  const old = marks.at(100_000) ?? 0;
  t.ok(old <= 100 && old >= 90, "what is long ago is less exact, and never too late");
});
