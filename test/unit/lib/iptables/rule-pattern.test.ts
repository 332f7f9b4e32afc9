/** Which rules differ in addresses only. */
import t from "tap";
import { parseRule } from "../../../../lib/iptables/parse-rule.ts";
import { patternOf } from "../../../../lib/iptables/rule-pattern.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";

const of = (text: string) => patternOf(parseRule(text, ipv4), ipv4);

t.test("each address has one number, however often it is in the text", async (t) => {
  t.strictSame(of("-d 203.0.113.1/32 -j DNAT --to-destination 203.0.113.11"), {
    shape: "-d {0}/32 -j DNAT --to-destination {1}",
    addresses: ["203.0.113.1", "203.0.113.11"],
  });
  const hairpin =
    "-o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst 203.0.113.1 -j SNAT --to-source 203.0.113.1 --random-fully";
  t.strictSame(of(hairpin), {
    shape:
      "-o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst {0} -j SNAT --to-source {0} --random-fully",
    addresses: ["203.0.113.1"],
  });
});

t.test("a rule with another number, and one that is printed otherwise, has no pattern", async (t) => {
  for (const text of [
    "-d 203.0.113.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.5:80",
    "-s 10.0.1.0/24 -o net1 -j SNAT --to-source 203.0.113.1 --random-fully",
    "-d 203.0.113.1/32 -j RETURN",
    "-d 203.0.113.1/32 -m comment --comment x -j DNAT --to-destination 10.0.1.5",
    "-d 203.0.113.1 -j DNAT --to-destination 10.0.1.5",
  ])
    t.equal(of(text), undefined, text);
});
