/** Parsing in pieces against the plain parser: the same values, the same refusals, and no part with more than its share. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { parse as plain } from "secure-json-parse";
import t from "tap";
import { parseChunked } from "../../../../../agent/api/json/parse-chunked.ts";
import { surveyJson } from "../../../../../agent/api/json-body.ts";
import { runSync } from "../../../../../lib/chunked.ts";
import { countKeys } from "../../../../../lib/count-keys.ts";
import { jsonValues } from "../../../../support/json-values.ts";

const secure = (text: string): unknown => plain(text, { protoAction: "error", constructorAction: "error" });

/** The value, or `refused`. */
function outcomeOf(parse: () => unknown): unknown {
  try {
    return { value: parse() };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return "refused";
  }
}

const names = fc.constantFrom("name", "eip", "é\\é", '"', "constructor");

const texts = fc
  .tuple(
    fc.oneof(
      jsonValues({ maxDepth: 6 }),
      fc.array(fc.dictionary(names, jsonValues())),
      fc.dictionary(fc.constantFrom("eips", "fips", "a:b", "}", ","), fc.array(jsonValues())),
    ),
    fc.constantFrom(undefined, 1, "\t", " \n"),
  )
  .map(([value, space]) => ` ${JSON.stringify(value, undefined, space)}\n`);

const mutated = fc
  .tuple(
    texts,
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.nat(3),
        fc.constantFrom(
          ...'[]{},:"\\ \t0-1eE.ntf/',
          "",
          '"__proto__":1,',
          '"constructor":{"prototype":1}',
          "\uFEFF",
          "\u00a0",
          '"a":1,"a":2',
          "[[],{}]",
          "\\u0041",
        ),
      ),
      { maxLength: 3 },
    ),
  )
  .map(([text, edits]) =>
    edits.reduce((before, [at, cut, put]) => {
      const place = at % (before.length + 1);
      return before.slice(0, place) + put + before.slice(place + cut);
    }, text),
  );

const atOnce = fc.constantFrom(1, 2, 3, 5, 8, 20, 100);

t.test("the value of a text", async () => {
  fc.assert(
    fc.property(texts, atOnce, (text, atOnce) => {
      const outcome = outcomeOf(
        () => runSync(parseChunked(Buffer.from(text), { parse: secure, atOnce })).value,
      );
      return isDeepStrictEqual(
        outcome,
        outcomeOf(() => secure(text)),
      );
    }),
    { numRuns: 500 },
  );
});

t.test("a damaged text is refused where the plain parser refuses it", async (t) => {
  const seen = { refused: 0, taken: 0 };
  fc.assert(
    fc.property(mutated, atOnce, (text, atOnce) => {
      const expected = outcomeOf(() => secure(text.startsWith("\uFEFF") ? `x${text}` : text));
      const outcome = outcomeOf(
        () => runSync(parseChunked(Buffer.from(text), { parse: secure, atOnce })).value,
      );
      seen[outcome === "refused" ? "refused" : "taken"]++;
      return isDeepStrictEqual(outcome, expected);
    }),
    { numRuns: 2_000 },
  );
  t.ok(seen.refused > 200 && seen.taken > 200, JSON.stringify(seen));
});

t.test("bytes that are no UTF-8, or more than one for a character", async (t) => {
  const bytes = fc.constantFrom(..."é€😀".split(""), "\u00ff").map((text) => Buffer.from(text));
  const broken = fc.uint8Array({ min: 0x80, max: 0xff, maxLength: 3 }).map((one) => Buffer.from(one));
  const put = fc.array(fc.tuple(fc.nat(), fc.oneof(bytes, broken)), { maxLength: 4 });
  const seen = { refused: 0, taken: 0 };
  fc.assert(
    fc.property(texts, put, atOnce, (text, puts, atOnce) => {
      const bytes = puts.reduce((before, [at, more]) => {
        const place = at % (before.length + 1);
        return Buffer.concat([before.subarray(0, place), more, before.subarray(place)]);
      }, Buffer.from(text));
      const outcome = outcomeOf(() => runSync(parseChunked(bytes, { parse: secure, atOnce })).value);
      seen[outcome === "refused" ? "refused" : "taken"]++;
      return isDeepStrictEqual(
        outcome,
        outcomeOf(() => secure(bytes.toString())),
      );
    }),
    { numRuns: 2_000 },
  );
  t.ok(seen.refused > 200 && seen.taken > 200, JSON.stringify(seen));
});

t.test("members are counted as the survey counts them, names that occur twice are not", async () => {
  fc.assert(
    fc.property(mutated, atOnce, (text, atOnce) => {
      const outcome = outcomeOf(() => secure(text.startsWith("\uFEFF") ? `x${text}` : text));
      if (outcome === "refused") return true;
      const { keys, value } = runSync(parseChunked(Buffer.from(text), { parse: secure, atOnce }));
      const isUnique = runSync(surveyJson(Buffer.from(text))).keys === countKeys(value);
      return (keys === runSync(surveyJson(Buffer.from(text))).keys) === isUnique;
    }),
    { numRuns: 500 },
  );
});

t.test("no part parses more than its share", async (t) => {
  const atOnce = 1_000;
  let parsed = 0;
  const counting = (text: string): unknown => {
    parsed += text.length;
    return secure(text);
  };
  const items = Array.from({ length: 5_000 }, (_, index) => ({ name: `fip-${index}`, at: [index] }));
  for (const value of [
    items,
    { a: items, b: { c: items } },
    [[[items]]],
    Object.fromEntries(items.entries()),
  ]) {
    const parts = parseChunked(Buffer.from(JSON.stringify(value)), { parse: counting, atOnce });
    let most = 0;
    for (let step = parts.next(); ; step = parts.next()) {
      most = Math.max(most, parsed);
      parsed = 0;
      if (!step.done) continue;
      t.strictSame(step.value.value, value);
      break;
    }
    t.ok(most <= 100 * atOnce, `${most} characters`);
  }
});
