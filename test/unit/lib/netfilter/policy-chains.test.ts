/** What IPsec policies do to packets, and how they are told. */
import t from "tap";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { HookName } from "../../../../lib/netfilter/chain.ts";
import { policyChains, withSwitches } from "../../../../lib/netfilter/policy-chains.ts";
import { type Packets, walk } from "../../../../lib/netfilter/walk.ts";
import type { XfrmPolicy } from "../../../../lib/netlink/xfrm-policies.ts";
import { alone } from "../../../support/netfilter.ts";
import { toIp } from "../../../support/network-values.ts";
import { noDefaultBlocks, policyOf, templateOf } from "../../../support/policies.ts";

const names = new Map([
  [1, "lo"],
  [2, "eth0"],
  [3, "net1"],
]);
const all = "0.0.0.0/0 > 0.0.0.0/0";

/** @param policies the oldest first, as a person adds them */
function chainsOf(policies: readonly XfrmPolicy[], defaultBlocks = noDefaultBlocks) {
  return policyChains({ policies: policies.toReversed(), defaultBlocks }, (index) => names.get(index));
}

const host = (text: string) => {
  const value = Number(ipv4.toValue(toIp(text)));
  return [value, value] as const;
};

/** Packets from any host to the EIP 203.0.113.10, on their way to the VPC. */
const inward: Packets = {
  in: "net1",
  out: "eth0",
  source: undefined,
  destination: host("203.0.113.10"),
  protocol: undefined,
  sourcePort: undefined,
  destinationPort: undefined,
  state: "new",
};

/** What happens on that hook: `drops`, `maybe takes`. */
function harms(
  policies: readonly XfrmPolicy[],
  hook: HookName = "forward",
  packets: Partial<Packets> = {},
  chains = chainsOf(policies),
): readonly string[] {
  return chains
    .filter((chain) => chain.hook?.name === hook)
    .flatMap((chain) => walk(chain, { ...inward, ...packets }, alone))
    .map(({ verb, isSure }) => `${isSure ? "" : "maybe "}${verb}`);
}

t.test("the words of ip xfrm policy", async (t) => {
  const text = (...[words, parts]: Parameters<typeof policyOf>) =>
    chainsOf([policyOf("fwd 1.1.1.1/32 > 2.2.2.2/32", { priority: 99 }), policyOf(words, parts)])
      .flatMap(({ rules }) => rules)
      .at(0)?.text;
  t.equal(text("fwd 10.0.0.0/8 > 0.0.0.0/0"), "src 10.0.0.0/8 dst 0.0.0.0/0 dir fwd action block priority 0");
  t.equal(
    text("fwd 0.0.0.0/0 > 203.0.113.11/32", {
      protocol: 6,
      sourcePort: { value: 0, mask: 0xff00 },
      destinationPort: { value: 8080, mask: 0xffff },
      interfaceIndex: 3,
      mark: { value: 5, mask: 0xff },
      isSub: true,
      hasLabel: true,
      templates: [templateOf(), templateOf(true)],
      action: "allow",
      priority: 7,
    }),
    "src 0.0.0.0/0 dst 203.0.113.11/32 proto tcp sport 0/0xff00 dport 8080 dev net1 dir fwd action allow priority 7 ptype sub mark 0x5/0xff ctx" +
      " tmpl src 203.0.113.254 dst 192.0.2.1 proto esp mode tunnel tmpl src 203.0.113.254 dst 192.0.2.1 proto esp mode tunnel level use",
  );
  t.equal(
    text(`fwd ${all}`, { protocol: 1, sourcePort: { value: 8, mask: 0xffff }, interfaceIndex: 99 }),
    "src 0.0.0.0/0 dst 0.0.0.0/0 proto icmp type 8 dev if99 dir fwd action block priority 0",
  );
});

t.test("where policies are asked", async (t) => {
  const hooks = (...[words, parts]: Parameters<typeof policyOf>) =>
    chainsOf([policyOf(words, parts)]).map(
      ({ place, name, hook }) => `${place} ${name}: ${hook?.name}${hook?.isAsReceived ? " as received" : ""}`,
    );
  t.same(hooks(`fwd ${all}`), ["ip xfrm policy fwd: forward as received"]);
  t.same(hooks(`in ${all}`), ["ip xfrm policy in: input as received"]);
  t.same(hooks(`out ${all}`), ["ip xfrm policy out: forward", "ip xfrm policy out: postrouting"]);
  t.same(hooks(`fwd ${all}`, { action: "allow" }), [], "nothing that stops packets");
  t.same(hooks(`fwd ${all}`, { interfaceId: 7 }), [], "of an XFRM interface");
  t.same(hooks(`in ${all}`, { interfaceIndex: 3 }), [], "what the gateway gets leaves by lo");
  t.same(hooks(`in ${all}`, { interfaceIndex: 1 }).length, 1);
});

t.test("which packets a policy stops", async (t) => {
  const eip = "fwd 0.0.0.0/0 > 203.0.113.10/32";
  const rows: readonly (readonly [string, Parameters<typeof policyOf>, readonly string[]])[] = [
    ["all", [`fwd ${all}`], ["drops"]],
    ["its address", [eip], ["drops"]],
    ["its network", ["fwd 0.0.0.0/0 > 203.0.112.0/23"], ["drops"]],
    ["another address", ["fwd 0.0.0.0/0 > 203.0.113.11/32"], []],
    ["of one peer", ["fwd 198.51.100.0/24 > 203.0.113.10/32"], []],
    ["one protocol", [eip, { protocol: 17 }], ["maybe drops"]],
    ["one port", [eip, { destinationPort: { value: 80, mask: 0xffff } }], []],
    ["ports with a gap", [eip, { destinationPort: { value: 1, mask: 0x0101 } }], ["maybe drops"]],
    ["a mark", [eip, { mark: { value: 1, mask: 1 } }], ["maybe drops"]],
    ["a label", [eip, { hasLabel: true }], ["maybe drops"]],
    ["an action that nobody knows", [eip, { action: "unknown" }], ["maybe drops"]],
    ["the interface that it leaves by", [eip, { interfaceIndex: 2 }], ["drops"]],
    ["the one that it comes in by", [eip, { interfaceIndex: 3 }], []],
    ["an interface that is gone", [eip, { interfaceIndex: 99 }], []],
    ["IPsec is required", [eip, { action: "allow", templates: [templateOf(true), templateOf()] }], ["drops"]],
    ["IPsec is optional", [eip, { action: "allow", templates: [templateOf(true)] }], []],
  ];
  for (const [what, policy, expected] of rows) t.same(harms([policyOf(...policy)]), expected, what);
  const web = { protocol: "tcp", destinationPort: [8080, 8080] } as const;
  const ports = (value: number, mask: number) =>
    policyOf(eip, { protocol: 6, destinationPort: { value, mask } });
  t.same(harms([ports(8080, 0xffff)], "forward", web), ["drops"]);
  t.same(harms([ports(8064, 0xffc0)], "forward", web), ["drops"], "8064 to 8127");
  t.same(harms([ports(8128, 0xffc0)], "forward", web), []);
});

t.test("what leaves is encrypted if it can be", async (t) => {
  const out = (isOptional: boolean) => [
    policyOf(`out ${all}`, { action: "allow", templates: [templateOf(isOptional)] }),
  ];
  t.same(harms(out(false), "postrouting"), ["takes"]);
  t.same(harms(out(false), "forward"), ["maybe takes"], "a look after SNAT may undo it");
  t.same(harms(out(true), "postrouting"), ["maybe takes"]);
  const tunnel = policyOf("out 0.0.0.0/0 > 10.9.0.0/16", { action: "allow", templates: [templateOf()] });
  const answers = { destination: undefined, source: host("10.0.1.5") };
  t.same(harms([tunnel], "forward", answers), [], "a part is a tunnel, no harm");
  t.same(harms([tunnel], "postrouting", answers), []);
});

t.test("the first policy decides", async (t) => {
  const block = policyOf("fwd 0.0.0.0/0 > 203.0.113.10/32", { priority: 5 });
  const allow = (priority: number, words = `fwd ${all}`) => policyOf(words, { action: "allow", priority });
  t.same(harms([block, allow(4)]), []);
  t.same(harms([block, allow(6)]), ["drops"]);
  t.same(harms([block, allow(5)]), ["drops"], "the older one");
  t.same(harms([allow(5), block]), []);
  t.same(harms([block, allow(4, "fwd 198.51.100.0/24 > 0.0.0.0/0")]), ["maybe drops"], "one peer passes");
  t.same(harms([block, { ...allow(4), interfaceId: 3 }]), ["drops"], "not for an XFRM interface alone");
});

t.test("sub-policies come first", async (t) => {
  const sub = (direction: string, action: "allow" | "block") =>
    policyOf(`${direction} ${all}`, { isSub: true, priority: 9, action });
  const main = (direction: string, action: "allow" | "block") => policyOf(`${direction} ${all}`, { action });
  t.same(harms([sub("fwd", "block"), main("fwd", "allow")]), ["drops"]);
  t.same(harms([sub("fwd", "allow"), main("fwd", "block")]), [], "the kernel does not look for more");
  t.same(harms([sub("out", "allow"), main("out", "block")], "postrouting"), ["drops"], "here it does");
  t.same(harms([sub("in", "allow"), main("in", "block")], "input"), ["drops"]);
});

t.test("packets without a policy", async (t) => {
  const blocks = { ...noDefaultBlocks, fwd: true };
  t.match(chainsOf([], blocks), [{ name: "fwd", rules: [{ text: "setdefault fwd block" }] }]);
  t.same(harms([], "forward", {}, chainsOf([], blocks)), ["drops"]);
  t.same(harms([], "forward", {}, chainsOf([policyOf(`fwd ${all}`, { action: "allow" })], blocks)), []);
});

t.test("sysctls switch policies off", async (t) => {
  const chains = chainsOf([policyOf(`fwd ${all}`), policyOf(`out ${all}`)]);
  const left = (policy: readonly string[], xfrm: readonly string[]) =>
    withSwitches(chains, { policy, xfrm }).map(({ name, hook }) => `${name} ${hook?.name}`);
  t.same(left([], []), ["fwd forward", "out forward", "out postrouting"]);
  t.same(left(["all"], []), ["out forward", "out postrouting"]);
  t.same(left(["net1"], ["all", "eth0"]), ["fwd forward"]);
  const harmsWith = (policy: readonly string[], xfrm: readonly string[], hook: HookName) =>
    harms([], hook, {}, withSwitches(chains, { policy, xfrm }) as ReturnType<typeof chainsOf>);
  t.same(harmsWith(["net1"], ["all"], "forward"), [], "where packets come in");
  t.same(harmsWith(["eth0"], ["all"], "forward"), ["drops"]);
  t.same(harmsWith([], ["eth0"], "postrouting"), [], "where packets leave");
  t.same(harmsWith([], ["net1"], "postrouting"), ["drops"]);
  t.match(withSwitches(chains, { policy: ["net1"], xfrm: ["all"] })[0]?.rules[0], {
    text: "net.ipv4.conf.net1.disable_policy=1",
  });
});
