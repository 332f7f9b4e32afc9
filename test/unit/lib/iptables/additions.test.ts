/** Which transactions only append a few rules. */
import t from "tap";
import { additionsOf } from "../../../../lib/iptables/additions.ts";
import { restoreInput } from "../../../../lib/iptables/restore.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";

const rule = (chain: string, last: number) =>
  `-A ${chain} -s 10.0.1.${last}/32 -j SNAT --to-source 203.0.113.${last}`;
const of = (...lines: readonly string[]) =>
  additionsOf({ table: "nat", input: restoreInput("nat", lines) }, ipv4)?.map(
    ({ table, chain, rules }) => `${table} ${chain} ${rules.map(({ text }) => text.slice(3, 11)).join()}`,
  );

t.test("rules are grouped by chain, in order", async (t) => {
  t.strictSame(of(rule("X", 1), rule("Y", 2), rule("X", 3)), ["nat X 10.0.1.1,10.0.1.3", "nat Y 10.0.1.2"]);
});

t.test("everything else is for the tool", async (t) => {
  t.equal(of(rule("X", 1), "-D X -j RETURN"), undefined);
  t.equal(of(":X - [0:0]", rule("X", 1)), undefined);
  t.equal(of(...Array.from({ length: 17 }, (_, number) => rule("X", number))), undefined);
  t.equal(of(...Array.from({ length: 16 }, (_, number) => rule("X", number)))?.length, 1);
});
