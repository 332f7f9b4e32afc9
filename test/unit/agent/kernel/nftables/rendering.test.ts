/** What a kernel dumps in another form than it was sent counts as what was sent. */
import t from "tap";
import { Rendering } from "../../../../../agent/kernel/nftables/rendering.ts";

const [sent, dumped] = [
  ["table", "rule a"],
  ["table", "rule b"],
];

t.test("only what was dumped right after it was made is recognized", async (t) => {
  const rendering = new Rendering();
  t.equal(rendering.recognize(dumped), dumped, "nothing is known yet");
  rendering.learn(sent, [...dumped]);
  t.equal(rendering.recognize(dumped), sent);
  for (const other of [["table"], ["table", "rule c"], ["rule b", "table"], [...dumped, "rule c"], []])
    t.equal(rendering.recognize(other), other, other.join(", "));
});

t.test("a table that is not there is never recognized", async (t) => {
  const rendering = new Rendering();
  rendering.learn(sent, undefined);
  t.equal(rendering.recognize(undefined), undefined);
});
