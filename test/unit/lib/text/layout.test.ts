import fc from "fast-check";
import t from "tap";
import { type Layout, layOut, unpainted, wrap } from "../../../../lib/text/layout.ts";
import { type Column, fields, lines, table } from "../../../../lib/text/view.ts";

const at = (width: number): Layout => ({ width, paint: unpainted });

interface Row {
  readonly name: string;
  readonly ready: string;
  readonly count: string;
  readonly message: string;
}
const columns: readonly Column<Row>[] = [
  { head: "NAME", cell: ({ name }) => name, gives: "middle" },
  { head: "READY", cell: ({ ready }) => ready },
  { head: "COUNT", cell: ({ count }) => count, isRight: true },
  { head: "UID", cell: () => "uid-1", isWide: true },
  { head: "MESSAGE", cell: ({ message }) => message, gives: "wrap" },
];
const longName = `${"tenant-production-".repeat(4)}frontend-17`;
const rows: readonly Row[] = [
  {
    name: longName,
    ready: "False",
    count: "7",
    message: "the gateway does not reach 10.0.1.9 through eth0: no route leads there",
  },
  { name: "fip-b", ready: "True", count: "1234", message: "" },
];

t.test("a table as wide as it wants", async (t) => {
  t.same(layOut([{ block: table(columns, rows) }], at(Number.POSITIVE_INFINITY)), [
    `NAME${" ".repeat(longName.length - 4)}  READY  COUNT  MESSAGE`,
    `${longName}  False      7  the gateway does not reach 10.0.1.9 through eth0: no route leads there`,
    `fip-b${" ".repeat(longName.length - 5)}  True    1234`,
  ]);
});

t.test("at 80 columns names keep both ends, and messages are wrapped below themselves", async (t) => {
  t.same(layOut([{ heading: { text: "fips" }, block: table(columns, rows, true) }], at(80)), [
    "fips",
    "NAME                          READY  COUNT  UID    MESSAGE",
    "tenant-produc...-frontend-17  False      7  uid-1  the gateway does not reach",
    "                                                   10.0.1.9 through eth0: no",
    "                                                   route leads there",
    "fip-b                         True    1234  uid-1",
  ]);
});

t.test("no line is longer than the terminal, and columns stay aligned", async () => {
  const cell = fc.string({
    maxLength: 120,
    unit: fc.oneof(fc.constantFrom(..."abc -"), fc.string({ minLength: 1, maxLength: 1, unit: "binary" })),
  });
  const row = fc.record({
    name: cell,
    ready: fc.constantFrom("True", "False", "Unknown"),
    count: fc.nat().map(String),
    message: cell,
  });
  fc.assert(
    fc.property(
      fc.array(row, { maxLength: 6 }),
      fc.constantFrom(80, 160),
      fc.boolean(),
      (given, width, isWide) => {
        const [head = "", ...rest] = layOut([{ block: table(columns, given, isWide) }], at(width));
        const ready = head.indexOf("READY");
        const count = head.indexOf("COUNT") + "COUNT".length;
        for (const line of [head, ...rest]) {
          if (line.length > width) throw new Error(`too long: ${line}`);
          if (!/^[\x20-\x7e]*$/.test(line)) throw new Error(`not printable: ${JSON.stringify(line)}`);
          const isStart = ["True", "False", "Unkno", "READY"].some((word) => line.startsWith(word, ready));
          const isMore = line.slice(ready, count).trim() === "";
          if (!isStart && !isMore) throw new Error(`broken: ${line}`);
        }
      },
    ),
    { numRuns: 300 },
  );
});

t.test("fields are aligned, and their values wrapped", async (t) => {
  const block = fields({
    Gate: "open",
    "Last pass": { text: "2s ago", style: "good" },
    Absent: undefined,
    Two: ["one", "other"],
  });
  t.same(layOut([{ block }], at(80)), [
    "Gate:       open",
    "Last pass:  2s ago",
    "Two:        one",
    "            other",
  ]);
  t.same(layOut([{ block: fields({ A: "a b ".repeat(12).trim() }) }], at(40)), [
    "A:  a b a b a b a b a b a b a b a b a b",
    "    a b a b a b",
  ]);
});

t.test("lines, sections and styles", async (t) => {
  const paint: Layout["paint"] = (text, style) => `<${style}>${text}</>`;
  t.same(
    layOut(
      [
        { block: lines({ text: "bad \u001b[1m", style: "bad" }, "") },
        { block: table(columns, rows.slice(1)) },
      ],
      { width: 80, paint },
    ),
    [
      "<bad>bad \\u001b[1m</>",
      "",
      "",
      "<dim>NAME</>   <dim>READY</>  <dim>COUNT</>  <dim>MESSAGE</>",
      "fip-b  True    1234",
    ],
  );
  t.same(layOut([{ block: lines(`  ${"word ".repeat(20).trim()}`) }], at(40)), [
    "  word word word word word word word",
    "    word word word word word word word",
    "    word word word word word word",
  ]);
});

t.test("a word that is longer than a line is broken, and nothing is put into it", async (t) => {
  const name = Array.from({ length: 30 }, (_, at) => `n${at}`).join("-");
  for (const width of [40, 60]) {
    const shown = layOut([{ block: lines(`  ${name} is gone`) }], { width, paint: unpainted });
    t.ok(shown.every((line) => line.length <= width));
    const whole = shown.map((line) => line.trim()).join("");
    t.equal(whole.replaceAll(" ", ""), `${name}isgone`);
    t.equal(whole.replace(/ ?is ?gone$/, ""), name, `${width}`);
  }
});

t.test("wrap", async (t) => {
  t.same(wrap("", 5), [""]);
  t.same(wrap("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
  t.same(wrap("ab cd ef", 5), ["ab cd", "ef"]);
});
