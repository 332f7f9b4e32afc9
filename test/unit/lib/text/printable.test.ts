import t from "tap";
import { asciiJson, printable } from "../../../../lib/text/printable.ts";

t.test("only ASCII that prints comes out", async (t) => {
  t.equal(printable("plain ~ text"), "plain ~ text");
  t.equal(printable("\u001b[31mred"), "\\u001b[31mred");
  t.equal(printable("a\nb\tc\u007f\u009b"), "a\\u000ab\\u0009c\\u007f\\u009b");
  t.equal(printable("раypal"), "\\u0440\\u0430ypal");
  t.equal(printable("\u{1f600}"), "\\ud83d\\ude00");
  t.equal(printable("\ud800"), "\\ud800");
  for (let code = 0; code < 0x3000; code++) t.match(printable(String.fromCharCode(code)), /^[\x20-\x7e]+$/);
});

t.test("JSON in ASCII parses to the same value", async (t) => {
  const value = { "clé\u001b": ["\u009b2J", "😀", "\n", "\u2028", 1.5, null, true, {}] };
  for (const indent of [0, 2]) {
    t.same(JSON.parse(asciiJson(value, indent)), value);
    t.match(asciiJson(value, indent), /^[\x20-\x7e\n]+$/);
  }
  t.equal(asciiJson(undefined), "null");
});
