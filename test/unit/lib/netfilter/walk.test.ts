/** What happens to packets on their path through chains. */
import t from "tap";
import type { Chain } from "../../../../lib/netfilter/chain.ts";
import { parseIptablesChains } from "../../../../lib/netfilter/iptables-chains.ts";
import { type Packets, type Share, walk } from "../../../../lib/netfilter/walk.ts";

const packets: Packets = {
  in: "net1",
  out: "eth0",
  source: undefined,
  destination: [167772421, 167772421],
  protocol: undefined,
  sourcePort: undefined,
  destinationPort: undefined,
  state: "new",
};

interface Given {
  readonly policy?: "ACCEPT" | "DROP";
  readonly others?: readonly string[];
  readonly leadsToOwn?: boolean;
  readonly entering?: Share;
}

function fate(rules: readonly string[], { policy = "ACCEPT", others = [], ...options }: Given = {}) {
  const lines = ["*filter", `:FORWARD ${policy} [0:0]`, ":A - [0:0]", ":B - [0:0]", ...others];
  const text = [...lines, ...rules.map((rule) => `-A FORWARD ${rule}`)].join("\n");
  const chains = parseIptablesChains(text, "iptables", () => false);
  const chainNamed = (name: string) => chains.find((chain) => chain.name === name);
  const harms = walk(chainNamed("FORWARD") as Chain, packets, {
    chainNamed,
    isOwn: (name) => name === "OWN",
    leadsToOwn: false,
    entering: "all",
    ...options,
  });
  return harms.map(
    ({ where, verb, isSure }) =>
      `${isSure ? "" : "maybe "}${verb}: ${where.slice("iptables -t filter ".length)}`,
  );
}

t.test("rules, policies and chains that others lead to", async (t) => {
  const drop = ["drops: -P FORWARD DROP"];
  t.same(fate(["-j DROP"]), ["drops: -A FORWARD -j DROP"]);
  t.same(fate(["-d 10.0.1.5/32 -j ACCEPT", "-j DROP"]), [], "accepted before");
  t.same(fate(["-d 10.0.1.6/32 -j ACCEPT"], { policy: "DROP" }), drop);
  t.same(fate(["-i eth0 -j DROP", "! -o eth0 -j DROP"]), [], "others' packets");
  t.same(fate(["-m state --state ESTABLISHED -j ACCEPT"], { policy: "DROP" }), drop, "not for new flows");
  t.same(fate(["-p tcp --dport 22 -j DROP", "-s 192.0.2.0/24 -j DROP"]), [], "a part that is understood");
  t.same(fate(["-p tcp -j ACCEPT"], { policy: "DROP" }), [], "a part passes");
  const maybe = ["maybe drops: -P FORWARD DROP"];
  t.same(fate(["-p tcp --dport 22 -j ACCEPT"], { policy: "DROP" }), maybe, "only a part passes");
  t.same(fate(["-p tcp --dport 22 -j ACCEPT", "-p icmp -j ACCEPT"], { policy: "DROP" }), maybe, "two parts");
  t.same(fate(["-m limit --limit 1/sec -j ACCEPT", "-j DROP"]), ["maybe drops: -A FORWARD -j DROP"]);
  t.same(fate(["! -s 192.0.2.0/24 -j DROP"]), ["maybe drops: -A FORWARD ! -s 192.0.2.0/24 -j DROP"]);
  t.same(fate(["-s 0.0.0.0/1 -j DROP"]), ["maybe drops: -A FORWARD -s 0.0.0.0/1 -j DROP"], "half of them");
  t.same(fate(["-p tcp --dport 1:65535 -j DROP"]).length, 1, "nearly all ports");
  t.same(fate(["-p tcp -j DROP"]), ["maybe drops: -A FORWARD -p tcp -j DROP"], "what most use");
  t.same(fate(["-p icmp -j DROP", "! -s 192.0.2.0/24 -p icmp -j DROP"]), [], "a part of a part");
  t.same(fate(["-m what -j DROP"]), ["maybe drops: -A FORWARD -m what -j DROP"]);
  t.same(fate(["-m what -j ACCEPT"], { policy: "DROP" }), ["maybe drops: -P FORWARD DROP"]);
  t.same(fate(["-j A"], { others: ["-A A -j RETURN", "-A A -j DROP"], policy: "DROP" }), drop);
  t.same(fate(["-p tcp -j A"], { others: ["-A A -j LOG"], policy: "DROP" }), drop, "all come back");
  t.same(fate(["-j A"], { others: ["-A A -j B", "-A B -j ACCEPT"], policy: "DROP" }), [], "two deep");
  t.same(fate(["-g A", "-j DROP"], { others: ["-A A -j LOG"] }), [], "what goes does not come back here");
  t.same(fate(["-g A"], { others: ["-A A -j LOG"], policy: "DROP" }), drop, "but to the policy");
  t.same(fate(["-p tcp -j A", "-j DROP"], { others: ["-A A -j ACCEPT"] }), []);
  t.same(fate(["-j A"], { others: ["-A A -j B", "-A B -j A"] }), [], "a circle ends");
});

t.test("chains that lead to the agent's", async (t) => {
  const own = { leadsToOwn: true };
  t.same(fate(["-j OWN", "-j DROP"], own), [], "served before");
  t.same(fate(["-j OWN"], { ...own, policy: "DROP" }), []);
  t.same(fate(["-d 10.0.1.5/32 -j ACCEPT", "-j OWN"], own), ["skips: -A FORWARD -d 10.0.1.5/32 -j ACCEPT"]);
  t.same(fate(["-j RETURN", "-j OWN"], own), ["skips: -A FORWARD -j RETURN"]);
  t.same(fate(["-j A", "-j OWN"], { ...own, others: ["-A A -j RETURN"] }), []);
  t.same(fate(["-j DNAT --to-destination 10.0.1.9", "-j OWN"], own), [
    "translates: -A FORWARD -j DNAT --to-destination 10.0.1.9",
  ]);
  t.same(fate(["-j OWN", "-j DROP"]), ["drops: -A FORWARD -j DROP"], "elsewhere they pass on");
});

t.test("packets that may not reach the chain", async (t) => {
  t.same(fate(["-j DROP"], { entering: "unclear" }), ["maybe drops: -A FORWARD -j DROP"]);
});
