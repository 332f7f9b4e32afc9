import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { AnswerStream } from "../../../../../agent/api/answers/answer-stream.ts";
import { jsonParts, LazyList } from "../../../../../agent/api/answers/json-parts.ts";
import { Pieces } from "../../../../../agent/api/answers/pieces.ts";
import { type Place, Places } from "../../../../../agent/api/answers/places.ts";
import { Turns } from "../../../../../agent/api/answers/turns.ts";
import { until } from "../../../../support/run.ts";

const forever = new AbortController().signal;

t.test("one part per turn of the event loop, first come, first served", async (t) => {
  const turns = new Turns();
  let loops = 0;
  let isOver = false;
  const count = (): void => {
    loops++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const order: string[] = [];
  const work = (name: string) =>
    turns.run(
      (function* () {
        for (let part = 0; part < 3; part++) {
          order.push(`${name}${part} in ${loops}`);
          yield;
        }
        return name;
      })(),
    );
  t.same(await Promise.all([work("a"), work("b"), work("c")]), ["a", "b", "c"]);
  isOver = true;
  t.same(
    order.map((entry) => entry.slice(0, 2)),
    ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"],
  );
  t.equal(new Set(order.map((entry) => entry.split(" ")[2])).size, 9, "no two in one turn");
  await t.rejects(
    turns.run(
      // biome-ignore lint/correctness/useYield: it fails before
      (function* () {
        throw new Error("broken");
      })(),
    ),
    /broken/,
  );
});

t.test(
  "pieces end at their maximum length, at their maximum number of parts, and where other requests get their turn",
  async (t) => {
    const read = (parts: Iterable<string>) => {
      const pieces = new Pieces(parts);
      const texts: string[] = [];
      for (;;) {
        const { text, isLast } = pieces.next();
        texts.push(text);
        if (isLast) return texts;
      }
    };
    t.same(read([]), [""]);
    t.same(read(["a", "b"]), ["ab"]);
    t.same(read(["a", "", "b"]), ["a", "b"]);
    const long = read(Array.from({ length: 100 }, () => "x".repeat(1_000)));
    t.equal(long.join("").length, 100_000);
    t.ok(long.every((text) => text.length <= 33_000));
    t.ok(read(Array.from({ length: 2_000 }, () => "x")).every((text) => text.length <= 500));
  },
);

t.test("parts that nobody reads are not generated", async (t) => {
  let made = 0;
  const items = new LazyList(
    (function* () {
      for (;;) yield { index: made++, text: "x".repeat(1_000) };
    })(),
  );
  const places = new Places();
  const place = await places.take(forever);
  const stream = new AnswerStream(new Pieces(jsonParts(items)), new Turns(), place);
  await new Promise((resolve) => stream.once("readable", resolve));
  for (let turn = 0; turn < 50; turn++) await nextTurn();
  t.ok(made < 100, `${made} items made for somebody who reads none`);
  stream.destroy();
  await new Promise((resolve) => stream.once("close", resolve));
  const before = made;
  for (let turn = 0; turn < 50; turn++) await nextTurn();
  t.equal(made, before, "nor after the end");
});

t.test("an error while an answer is generated ends the answer", async (t) => {
  const broken = (function* () {
    yield "x";
    throw new Error("broken");
  })();
  const stream = new AnswerStream(new Pieces(broken), new Turns(), await new Places().take(forever));
  await t.rejects(stream.toArray(), /broken/);
});

t.test("a limited number of places, then first come, first served", async (t) => {
  const places = new Places({ most: 2, maxIdleMs: 60_000, waitMs: 60_000 });
  const [one, two] = [await places.take(forever), await places.take(forever)];
  const came: string[] = [];
  const third = places.take(forever).then((place) => {
    came.push("third");
    return place;
  });
  const fourth = places.take(forever).then((place) => {
    came.push("fourth");
    return place;
  });
  await nextTurn();
  t.same(came, []);
  one.release();
  one.release();
  await nextTurn();
  t.same(came, ["third"], "a place that is given back twice is one place");
  two.release();
  (await third).release();
  (await fourth).release();
  t.same(came, ["third", "fourth"]);
});

t.test(
  "answers whose client reads nothing are ended, the slowest first; answers that are read are not",
  async (t) => {
    const places = new Places({ most: 3, maxIdleMs: 1_000, waitMs: 60_000 });
    const cut: string[] = [];
    const take = async (name: string, idleMs: number): Promise<Place> => {
      const place = await places.take(forever);
      place.idleSinceMs = performance.now() - idleMs;
      place.cut = () => {
        cut.push(name);
        place.release();
      };
      return place;
    };
    await take("stuck", 5_000);
    await take("reads", Number.NEGATIVE_INFINITY);
    await take("stuck for longer", 9_000);
    await places.take(forever);
    t.same(cut, ["stuck for longer"]);
    await places.take(forever);
    t.same(cut, ["stuck for longer", "stuck"]);
    const last = places.take(AbortSignal.timeout(50)).then(
      () => "got",
      ({ code }) => code,
    );
    t.equal(await last, "overloaded", "there is nobody left to cut");
    t.equal(cut.length, 2);
  },
);

t.test("a waiting request times out; the answer to a client that becomes slow is ended later", async (t) => {
  const places = new Places({ most: 1, maxIdleMs: 20, waitMs: 100 });
  const place = await places.take(forever);
  await t.rejects(places.take(forever), { code: "overloaded" });
  const next = places.take(forever);
  place.cut = () => place.release();
  place.idleSinceMs = performance.now();
  await until("the place", () => next.then(() => true));
});
