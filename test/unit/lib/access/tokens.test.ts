import fc from "fast-check";
import t from "tap";
import { parseTokens } from "../../../../lib/access/tokens.ts";

const digest = "0123456789abcdef".repeat(4);
const other = "f".repeat(64);

t.test("a file of one token is the token", async (t) => {
  for (const text of [
    "s3cret",
    "s3cret\n",
    "\n  s3cret \r\n",
    "a:b:c",
    "# a comment\ns3cret\n",
    "a:write:b:c",
    digest,
  ]) {
    const token = text
      .split(/\r?\n/)
      .map((line) => line.trim())
      .find((line) => line !== "" && !line.startsWith("#"));
    t.strictSame(parseTokens(text), { kind: "plain", token }, JSON.stringify(text));
  }
});

t.test("lines of named tokens", async (t) => {
  const tokens = [
    { name: "ci", role: "write", digest },
    { name: "ci", role: "write", digest: other },
  ];
  t.strictSame(parseTokens(`# both\nci:write:${digest.toUpperCase()}\r\n\n  ci:write:${other}`), {
    kind: "named",
    tokens,
  });
  t.strictSame(parseTokens(`a.b_c@d-9:read:${digest}\n`), {
    kind: "named",
    tokens: [{ name: "a.b_c@d-9", role: "read", digest }],
  });
});

t.test("a byte order mark is no part of the first line", async (t) => {
  for (const mark of ["\ufeff", "\u00ef\u00bb\u00bf"]) {
    t.strictSame(parseTokens(`${mark}s3cret\r\n`), { kind: "plain", token: "s3cret" });
    t.match(parseTokens(`${mark}# a comment\r\nci:read:${digest}`), { kind: "named" });
    t.match(parseTokens(`${mark}ci:read:${digest}`), { tokens: [{ name: "ci" }] });
  }
});

t.test("anything else is refused, and what stands there is not told", async (t) => {
  const table: readonly (readonly [text: string, says: RegExp])[] = [
    ["", /no token/],
    [" \n# nothing\n", /no token/],
    ["one two", /spaces/],
    ["tökën", /printable ASCII/],
    ["x".repeat(4_097), /longer than 4096/],
    ["one\ntwo", /line 1: not three parts/],
    [`ci:write:${digest}\none`, /line 2: not three parts/],
    [`ci:write:${digest}:x\nci:read:${other}`, /line 1: not three parts/],
    // A mistake in a single line: the line must not become the token.
    [`ci:reed:${digest}`, /line 1: the role/],
    [`ci:write:${digest}0`, /line 1: the last part/],
    [`ci:write:secret`, /line 1: the last part/],
    [`ci:Write:secret`, /line 1: the role/],
    [`ci: write: ${digest}`, /line 1: the role/],
    [`ci:${digest}`, /line 1: not three parts/],
    [`${digest}:write`, /line 1: not three parts/],
    [`ci:write:${digest}:2026-01-31`, /line 1: not three parts/],
    [`ci:${digest}:write`, /line 1: the role/],
    [`:write:${digest}`, /line 1: the name/],
    [`a b:write:${digest}`, /line 1: the name/],
    [`${"n".repeat(65)}:write:${digest}`, /line 1: the name/],
    [`ci:write:${digest}\nother:read:${digest}`, /several lines/],
    [
      Array.from({ length: 257 }, (_, at) => `n:read:${String(at).padStart(64, "0")}`).join("\n"),
      /more than 256/,
    ],
  ];
  for (const [text, says] of table) t.throws(() => parseTokens(text), { message: says }, text.slice(0, 80));

  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[!-~]{12,40}$/), { minLength: 2, maxLength: 4 }), (lines) => {
      try {
        parseTokens(lines.join("\n"));
      } catch (error) {
        const message = String(error);
        return lines.every((line) => !message.includes(line));
      }
      return true;
    }),
  );
});
