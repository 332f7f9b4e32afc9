/** Chains as nft lists them. */
import t from "tap";
import { parseNftListing } from "../../../../lib/netfilter/nft-chains.ts";
import { parseNftRules } from "../../../../lib/netfilter/nft-rules.ts";
import { effectInWords, testsInWords } from "../../../support/chain-rules.ts";

const listing = `table inet fw { # handle 1
	set bad { # handle 5
		type ipv4_addr
		flags interval,timeout
		elements = { 10.0.0.4-10.0.0.9, 10.0.1.0/24,
			     10.0.2.1 timeout 1h expires 59m }
	}

	set ports { # handle 6
		type inet_service
		elements = { 80 }
	}

	chain sub { # handle 1
		comment "theirs"
		ip saddr @bad counter drop # handle 7
		tcp dport @ports drop # handle 8
	}

	chain c { # handle 2
		type filter hook forward priority -5; policy accept;
		jump sub # handle 9
	}
}
`;

t.test("chains and the sets of addresses that they ask for", async (t) => {
  const chains = parseNftListing(listing);
  t.strictSame([...chains.keys()], ["sub", "c"]);
  const [bad, ports] = chains.get("sub") ?? [];
  t.match(bad, {
    text: "ip saddr @bad counter drop",
    beyond: "all",
    tests: [
      {
        field: "source",
        ranges: [
          [167772164, 167772169],
          [167772416, 167772671],
          [167772673, 167772673],
        ],
      },
    ],
  });
  t.match(ports, { beyond: "unclear" });
  t.match(chains.get("c"), [{ text: "jump sub", effect: { kind: "jump", chain: "sub" } }]);
  t.equal(chains.get("c")?.length, 1);
});

const rows: readonly (readonly [rule: string, asks: string, effect: string])[] = [
  ["counter packets 5 bytes 300 drop", "all", "drops"],
  ['ct state established,related accept comment "drop"', "state=established,related all", "accept"],
  ["ct state { 0x2, 0x8 } accept", "state=established,new all", "accept"],
  ["ct state vmap @verdicts", "unclear", "unclear"],
  ["tcp dport vmap @verdicts", "protocol=tcp unclear", "unclear"],
  [
    'iifname "net1" oifname { "eth0", "eth*" } ip daddr { 10.0.1.5, 10.0.1.7 } tcp dport { 80, 8000-9000 } reject with icmp 13',
    "in=net1 out=eth0,eth* destination=167772421-167772421,167772423-167772423 protocol=tcp destinationPort=80-80,8000-9000 all",
    "drops",
  ],
  ["meta l4proto { tcp, 17 } th dport 53 accept", "protocol=tcp,udp destinationPort=53-53 all", "accept"],
  [
    'ip protocol icmp limit rate 5/second burst 10 packets log prefix "x drop " accept',
    "protocol=icmp part",
    "accept",
  ],
  ["tcp flags syn / fin,syn goto sub", "protocol=tcp state=new all", "goto sub"],
  ["tcp flags syn drop", "protocol=tcp state=new all", "drops"],
  ["tcp flags != syn ct state new drop", "protocol=tcp !state=new state=new all", "drops"],
  ["tcp flags rst drop", "protocol=tcp part", "drops"],
  ["tcp flags ack drop", "protocol=tcp !state=new all", "drops"],
  ["tcp flags == 0x10 drop", "protocol=tcp !state=new unclear", "drops"],
  ["tcp flags ! syn drop", "protocol=tcp !state=new unclear", "drops"],
  ["tcp flags != rst drop", "protocol=tcp all", "drops"],
  ["tcp flags ! fin,syn,rst,psh,ack,urg drop", "protocol=tcp part", "drops"],
  ["tcp flags syn,ack / syn,ack accept", "protocol=tcp !state=new unclear", "accept"],
  ["tcp flags != syn / fin,syn drop", "protocol=tcp !state=new unclear", "drops"],
  ["tcp flags & (syn | ack) == syn | ack drop", "protocol=tcp !state=new unclear", "drops"],
  ["tcp flags { syn | ack, syn } drop", "protocol=tcp state=new all", "drops"],
  ["tcp flags nosuch drop", "protocol=tcp unclear", "drops"],
  ["tcp option timestamp exists drop", "protocol=tcp rest", "drops"],
  ["tcp option timestamp missing drop", "protocol=tcp part", "drops"],
  ["tcp option mptcp exists drop", "protocol=tcp part", "drops"],
  ["tcp option maxseg size < 500 drop", "protocol=tcp part", "drops"],
  ["tcp option maxseg size > 500 drop", "protocol=tcp rest", "drops"],
  ["tcp window > 0 drop", "protocol=tcp unclear", "drops"],
  ["udp length > 8 drop", "protocol=udp rest", "drops"],
  ["ct state ! invalid drop", "!state=invalid all", "drops"],
  ["ip dscp cs0 drop", "rest", "drops"],
  ["ip dscp { cs1, cs0 } drop", "rest", "drops"],
  ["ip dscp != cs1 drop", "rest", "drops"],
  ["ip dscp af11 drop", "part", "drops"],
  ["ip ecn not-ect drop", "rest", "drops"],
  ["ip ecn ce drop", "part", "drops"],
  ["ip hdrlength 5 drop", "rest", "drops"],
  ["ip hdrlength > 5 drop", "part", "drops"],
  ["ip frag-off & 8191 != 0 drop", "part", "drops"],
  ["ip frag-off & 0x1fff == 0 drop", "rest", "drops"],
  ["ip checksum != 0 drop", "rest", "drops"],
  ["ip id 0 drop", "part", "drops"],
  ["meta priority none drop", "rest", "drops"],
  ["meta priority 1:10 drop", "part", "drops"],
  ["ether saddr 02:00:00:00:00:01 drop", "unclear", "drops"],
  ["limit rate over 1/day drop", "rest", "drops"],
  ["limit rate over 1 bytes/second drop", "rest", "drops"],
  ["limit rate 1000/second drop", "rest", "drops"],
  ["limit rate 100 mbytes/second burst 5 mbytes drop", "rest", "drops"],
  ["limit rate 5/minute drop", "part", "drops"],
  ["limit rate 1000/second accept", "part", "accept"],
  ['limit name "unknown" drop', "unclear", "drops"],
  ["update @s { ip daddr limit rate over 1/minute burst 1 packets } drop", "rest", "drops"],
  ["add @s { ip saddr timeout 1m limit rate over 100/second } drop", "part", "drops"],
  ["add @s { ip saddr ct count over 0 } drop", "rest", "drops"],
  ["add @s { ip saddr ct count over 100 } drop", "part", "drops"],
  ["add @s { ip saddr timeout 1m } drop", "all", "drops"],
  ["delete @s { ip saddr } drop", "all", "drops"],
  ["meta l4proto tcp tproxy to :9999", "protocol=tcp all", "maybe takes"],
  ["limit rate over 10/second burst 5 packets drop", "part", "drops"],
  ["limit rate over 10 mbytes/second burst 64 kbytes drop", "part", "drops"],
  ["meta length > 20 drop", "rest", "drops"],
  ["ip length 1000-1500 drop", "part", "drops"],
  ["ip length 40-1500 drop", "rest", "drops"],
  ["ip length != 1000-1500 drop", "rest", "drops"],
  ["ip ttl != 64 drop", "rest", "drops"],
  ["ip ttl 64 drop", "part", "drops"],
  ["ip ttl < 64 drop", "rest", "drops"],
  ['iifname . oifname { "net1" . "eth0" } drop', "unclear", "drops"],
  ["meta l4proto . th dport { tcp . 80 } drop", "unclear", "drops"],
  ["ip ttl set 1", "all", "rewrites"],
  ["ip ttl set 64", "all", "continue"],
  ["ip dscp set cs1 drop", "all", "drops"],
  ["ip frag-off set 0", "all", "continue"],
  ["ip id set 0", "all", "continue"],
  ["ip protocol set 99", "all", "rewrites"],
  ["ether daddr set 02:00:00:00:00:99", "all", "rewrites"],
  ["tcp flags & (fin | syn) == syn drop", "protocol=tcp state=new all", "drops"],
  ["meta mark & 0x00000001 == 0x00000001 meta mark set 0x00000002", "unclear", "continue"],
  ["ip ttl < 3 drop", "part", "drops"],
  ["ip daddr != 10.0.1.0/24 return", "!destination=167772416-167772671 all", "return"],
  ["ip saddr @unknown drop", "unclear", "drops"],
  ["ip saddr . ip daddr { 10.0.0.1 . 10.0.0.2 } drop", "unclear", "drops"],
  ["meta nfproto ipv4 ip version 4 drop", "all", "drops"],
  ["meta nfproto ipv6 drop", "protocol= all", "drops"],
  ["ip6 saddr ::1 drop", "protocol= unclear", "drops"],
  [
    "ip daddr 203.0.113.11 tcp dport 8080 dnat ip to 10.0.1.9:80",
    "destination=3405803787-3405803787 protocol=tcp destinationPort=8080-8080 all",
    "translates",
  ],
  ["ip daddr set 1.2.3.4", "all", "rewrites"],
  ["notrack", "all", "does not track"],
  ["ct zone set 5", "all", "maybe does not track"],
  ["ct original zone set 5", "all", "maybe does not track"],
  ["ct zone set 0", "all", "continue"],
  ["ct mark set 5", "all", "continue"],
  ["ct status dnat accept", "status=dnat all", "accept"],
  ["ct status ! snat,dnat drop", "!status=snat,dnat all", "drops"],
  ["ct status dnat,assured drop", "unclear", "drops"],
  ["meta pkttype set other", "all", "maybe rewrites"],
  ["meta pkttype set host", "all", "continue"],
  ["meta pkttype set unicast", "all", "continue"],
  ["queue num 0 bypass", "all", "unclear"],
  ["tcp flags syn tcp option maxseg size set rt mtu", "protocol=tcp state=new protocol=tcp all", "continue"],
  ["fib daddr type local drop", "unclear", "drops"],
];

t.test("rules", async (t) => {
  for (const [rule, asks, effect] of rows) {
    const [read] = parseNftRules(rule);
    if (read === undefined) throw new TypeError(rule);
    t.equal(testsInWords(read), asks, rule);
    t.equal(effectInWords(read), effect, rule);
  }
});

t.test("a map of verdicts", async (t) => {
  const text = "iifname net1 ct state vmap { invalid : drop, new : jump sub }";
  t.match(parseNftRules(text), [
    { text, tests: [{ field: "in" }, { names: ["invalid"] }], effect: { kind: "harm" } },
    { text, tests: [{ field: "in" }, { names: ["new"] }], effect: { kind: "jump", chain: "sub" } },
  ]);
});

t.test("the mark of packets from the VPC", async (t) => {
  const isTaken = (expression: string) =>
    parseNftRules(`meta mark set ${expression} counter packets 0 bytes 0`)[0]?.unmarks === true;
  const takes = [
    "0x00000000",
    "0x10",
    "ct mark",
    "ip saddr map @marks",
    "meta mark & 0xfffffffe",
    "meta mark ^ 0x1",
  ];
  for (const expression of takes) t.ok(isTaken(expression), expression);
  const keeps = [
    "0x00000001",
    "meta mark | 0x00000100",
    "meta mark & 0x0000ff01",
    "meta mark & 0xff00 | 0x1",
  ];
  for (const expression of [...keeps, "meta mark ^ 0x2"]) t.notOk(isTaken(expression), expression);
});

t.test("a map of verdicts by several fields", async (t) => {
  const text =
    'iifname "net1" ip daddr . meta l4proto vmap { 10.0.1.5 . tcp : drop, 10.0.1.6 . udp : accept }';
  const rules = parseNftRules(text);
  t.same(rules.map(testsInWords), [
    "in=net1 destination=167772421-167772421 protocol=tcp all",
    "in=net1 destination=167772422-167772422 protocol=udp all",
  ]);
  t.same(rules.map(effectInWords), ["drops", "accept"]);
});

t.test("limits and conntrack timeouts by name", async (t) => {
  const rules = parseNftListing(`table ip other { # handle 1
	limit low { # handle 2
		rate over 1/minute
	}

	limit high { # handle 3
		rate over 10 mbytes/second burst 1 mbytes
	}

	ct timeout short { # handle 4
		protocol tcp
		l3proto ip
		policy = { syn_sent : 0, established : 5 }
	}

	ct timeout long { # handle 5
		protocol tcp
		l3proto ip
		policy = { established : 20 }
	}

	chain c { # handle 1
		type filter hook forward priority filter; policy accept;
		limit name "low" drop # handle 6
		limit name "high" drop # handle 7
		ct timeout set "short" # handle 8
		ct timeout set "long" # handle 9
	}
}
`).get("c");
  t.same(rules?.map(testsInWords), ["rest", "part", "all", "all"]);
  t.same(rules?.map(effectInWords), ["drops", "drops", "maybe does not track", "continue"]);
});

t.test("chains in braces", async (t) => {
  const chains = parseNftListing(`table ip other { # handle 1
	chain c { # handle 1
		type filter hook forward priority filter; policy accept;
		ip daddr 10.0.1.5 jump {
			tcp dport 80 goto {
				drop
			} # handle 7
			accept # handle 6
		} # handle 4
		tcp dport 81 drop # handle 5
	}
}
`);
  const texts = [...chains].map(([name, rules]) => [name, rules.map(({ text }) => text)]);
  t.same(texts, [
    ["c", ["ip daddr 10.0.1.5 jump {1}", "tcp dport 81 drop"]],
    ["{1}", ["tcp dport 80 goto {2}", "accept"]],
    ["{2}", ["drop"]],
  ]);
  t.match(chains.get("c"), [{ effect: { kind: "jump", chain: "{1}" } }, {}]);
  t.match(chains.get("{1}"), [{ effect: { kind: "goto", chain: "{2}" } }, {}]);
});

t.test("a named map of verdicts", async (t) => {
  const listing = (elements: string) => `table ip other {
	map fate {
		type ipv4_addr : verdict
		elements = { ${elements} }
	}

	chain c { # handle 1
		type filter hook forward priority filter; policy accept;
		ip daddr vmap @fate # handle 2
	}
}
`;
  const rulesOf = (elements: string) => parseNftListing(listing(elements)).get("c") ?? [];
  const text = "ip daddr vmap @fate";
  t.match(rulesOf("10.0.1.5 : drop,\n\t\t\t     10.0.1.6 : jump sub"), [
    { text, tests: [{ field: "destination" }], effect: { kind: "harm", verb: "drops" } },
    { text, tests: [{ field: "destination" }], effect: { kind: "jump", chain: "sub" } },
  ]);
  const many = Array.from({ length: 1_001 }, (_, at) => `10.0.${at >> 8}.${at & 255} : drop`).join(", ");
  t.match(rulesOf(many), [{ text, beyond: "unclear" }], "too many to follow packets through");
  t.match(parseNftRules(text), [{ text, beyond: "unclear" }], "a map that nobody read");
});
