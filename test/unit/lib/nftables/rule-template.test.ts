/** What is learned from rules of one shape, and when nothing is. */
import t from "tap";
import {
  bytesAttribute,
  concatBytes,
  nestedAttribute,
  textAttribute,
} from "../../../../lib/netlink/attributes.ts";
import { isSameContent, learnTemplate, readContent } from "../../../../lib/nftables/rule-template.ts";

const expression = (name: string, ...data: readonly Uint8Array[]) =>
  nestedAttribute(1, textAttribute(1, name), nestedAttribute(2, ...data));
const u64 = (value: number) => Uint8Array.of(0, 0, 0, 0, 0, 0, 0, value);

interface Given {
  readonly packets?: number;
  readonly blob: readonly number[];
  readonly more?: readonly Uint8Array[];
}

/** A dumped rule with a match, a counter and a blob. */
function dumped({ packets = 0, blob, more = [] }: Given): Uint8Array {
  return concatBytes(
    Uint8Array.of(2, 0, 0, 0),
    textAttribute(1, "nat"),
    textAttribute(2, "X"),
    bytesAttribute(3, u64(7)),
    bytesAttribute(6, u64(6)),
    nestedAttribute(
      4,
      expression("cmp", bytesAttribute(1, Uint8Array.of(...blob.slice(0, 4)))),
      expression("counter", bytesAttribute(1, u64(packets)), bytesAttribute(2, u64(packets))),
      expression("target", textAttribute(1, "SNAT"), bytesAttribute(3, Uint8Array.of(...blob))),
    ),
    ...more,
  );
}

function contentOf(given: Given) {
  const bytes = dumped(given);
  const content = readContent(new DataView(bytes.buffer), 0, bytes.length);
  if (content === undefined) throw new Error("no content");
  return content;
}

const [a, b, c, d] = [10, 20, 30, 40].map((last) => [203, 0, 113, last]) as [
  number[],
  number[],
  number[],
  number[],
];
const bytes = (...all: readonly number[][]) => all.map((address) => Uint8Array.from(address));
const example = (one: number[], other: number[], rest: readonly number[] = [9]) => ({
  content: contentOf({ blob: [...one, ...other, ...other, ...rest] }),
  addresses: bytes(one, other),
});

t.test("where a rule stands and what it counted is no content", async (t) => {
  t.ok(isSameContent(contentOf({ packets: 5, blob: a }), contentOf({ packets: 9, blob: a })));
  t.notOk(isSameContent(contentOf({ blob: a }), contentOf({ blob: b })));
  const unknown = dumped({ blob: a, more: [bytesAttribute(20, u64(1))] });
  t.equal(readContent(new DataView(unknown.buffer), 0, unknown.length), undefined);
});

t.test("a template makes the content of other addresses", async (t) => {
  const template = learnTemplate([example(a, b), example(c, d)]);
  t.ok(template && isSameContent(template(bytes(d, a)), example(d, a).content));
});

t.test(
  "nothing is learned from one example, from common addresses, or from examples that differ otherwise",
  async (t) => {
    t.equal(learnTemplate([]), undefined);
    t.equal(learnTemplate([example(a, b)]), undefined);
    t.equal(learnTemplate([example(a, b), example(c, b)]), undefined);
    t.equal(learnTemplate([example(a, b), example(c, d, [8])]), undefined);
    t.equal(learnTemplate([example(a, b), { ...example(c, d), addresses: bytes(d, c) }]), undefined);
    // The first address is also a part of the blob that stays.
    t.equal(learnTemplate([example(a, b, a), example(c, d, a)]), undefined);
    t.equal(
      learnTemplate([{ ...example(a, b), addresses: bytes([1, 2, 3, 4], b) }, example(c, d)]),
      undefined,
    );
  },
);
