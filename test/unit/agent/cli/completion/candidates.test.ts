import t from "tap";
import { candidates } from "../../../../../agent/cli/completion/candidates.ts";
import { createProgram } from "../../../../../agent/cli/program.ts";

const program = createProgram("0.0.0", async () => undefined);
const of = (line: string) => candidates(program, line.split(" "));

t.test("what can follow", async (t) => {
  t.ok(of("").words.includes("status"));
  t.same(of("de").words, ["describe", "delete"]);
  t.same(of("he").words, ["help"]);
  t.same(of("help wa").words, ["wait"]);
  t.notOk(of("help ").words.includes("help"));
  t.ok(of("get ").words.includes("all"));
  t.notOk(of("describe ").words.includes("all"));
  t.same(of("get fi").words, ["fips"]);
  t.equal(of("get fips ").namesOf, "fips");
  t.equal(of("get fip ").namesOf, "fips");
  t.equal(of("connections ").namesOf, "eips");
  t.equal(of("explain --in ").namesOf, "eips");
  t.match(of("wait fip/f"), { words: [], namesOf: "fips", prefix: "fip/" });
  t.match(of("describe eips/"), { namesOf: "eips", prefix: "eips/" });
  t.same(of("wait foo/"), { words: [] });
  t.same(of("get fips fip-a ").words, []);
  t.same(of("-o y").words, ["yaml"]);
  t.same(of("get -o json eips ").namesOf, "eips", "the value of an option is no argument");
  t.same(of("get fips --ready ").words, ["true", "false"]);
  t.same(of("wait fips --for ").words, ["ready", "deleted"]);
  t.same(of("completion ").words, ["bash", "zsh", "fish"]);
  t.same(of("delete --ca").words, ["--cascade", "--ca"]);
  t.same(of("nonsense x").words, []);
});
