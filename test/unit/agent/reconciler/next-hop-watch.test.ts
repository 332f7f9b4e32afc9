/** Which routers do not answer. */
import t from "tap";
import { NextHopWatch } from "../../../../agent/reconciler/next-hop-watch.ts";
import { parseIp } from "../../../../lib/model/ipv4.ts";
import { parseInterfaceName } from "../../../../lib/model/names.ts";
import type { NeighbourState } from "../../../../lib/netlink/rtnetlink-neighbours.ts";
import type { NextHop } from "../../../../lib/plan/reach/next-hops.ts";
import { until } from "../../../support/run.ts";

function hop(address: string): NextHop {
  const [via, name] = [parseIp(address), parseInterfaceName("net1")];
  if (via === undefined || name === undefined) throw new TypeError(address);
  return { via, interface: name, index: 2 };
}
const hops = [hop("203.0.113.1"), hop("203.0.113.99")];

function watchOver(
  states: Record<string, NeighbourState>,
  answers: Record<string, string> = {},
  permanent: NextHop[] = [],
) {
  const asked: string[] = [];
  const woken: string[] = [];
  const watch = new NextHopWatch({
    neighbours: {
      states: async (of) => of.map(({ via }) => states[via] ?? "unknown"),
      permanent: async () => permanent,
      ask: async (of) => void asked.push(...of.map(({ via }) => via)),
      answerOf: async ({ via }) => {
        asked.push(`probe ${via}`);
        return answers[via];
      },
    },
    wake: (reason) => woken.push(reason),
  });
  return { watch, asked, woken };
}

t.test("an unknown router is resolved, and counts as silent if it does not answer", async (t) => {
  const states: Record<string, NeighbourState> = { "203.0.113.1": "known" };
  const { watch, asked } = watchOver(states);
  t.same(await watch.observe(hops, [], true), [], "nobody knows yet");
  t.same(asked.splice(0), ["203.0.113.99"], "who is known is left in peace");
  states["203.0.113.99"] = "failed";
  const silent = await watch.observe(hops, [], true);
  t.same(silent, [hops[1]]);
  t.same(asked.splice(0), ["203.0.113.99"]);
  states["203.0.113.99"] = "unknown";
  t.equal(await watch.observe([...hops], [], true), silent, "while it is asked for, what was known stands");
  states["203.0.113.99"] = "known";
  t.same(await watch.observe(hops, [], true), []);
});

t.test("a reading outside of passes sends no ARP", async (t) => {
  const { watch, asked } = watchOver({ "203.0.113.1": "failed" });
  t.same(await watch.observe(hops, [], false), [hops[0]]);
  t.same(asked, []);
});

t.test("a reading outside of passes, of a network without the router, makes nobody forget it", async (t) => {
  const states: Record<string, NeighbourState> = { "203.0.113.1": "known", "203.0.113.99": "failed" };
  const { watch } = watchOver(states);
  t.same(await watch.observe(hops, [], true), [hops[1]]);
  t.same(await watch.observe(hops.slice(0, 1), [], false), []);
  states["203.0.113.99"] = "unknown";
  t.same(await watch.observe(hops, [], true), [hops[1]], "while it is asked for, what was known stands");
});

t.test("a change between passes wakes one", async (t) => {
  const states: Record<string, NeighbourState> = { "203.0.113.1": "known", "203.0.113.99": "known" };
  const { watch, woken } = watchOver(states);
  await watch.observe(hops, [], true);
  states["203.0.113.1"] = "failed";
  watch.start();
  t.teardown(() => watch.stop());
  await until("a wake", () => woken.length > 0);
  t.same(woken, ["next hop"]);
});

t.test("a fixed MAC is compared with the one that answers", async (t) => {
  const [right, wrong] = ["02:00:00:00:00:01", "02:de:ad:00:00:01"];
  const states: Record<string, NeighbourState> = {
    "203.0.113.1": `fixed ${wrong}`,
    "203.0.113.99": `fixed ${right}`,
  };
  const answers: Record<string, string> = { "203.0.113.99": right };
  const { watch, asked, woken } = watchOver(states, answers);
  const settled = () => new Promise((resolve) => setTimeout(resolve, 1));
  t.same(await watch.observe(hops, [], false), []);
  t.same(asked, [], "a reading outside of passes sends no ARP");
  t.same(await watch.observe(hops, [], true), [], "no pass waits for an answer");
  await settled();
  t.same(asked.splice(0), ["probe 203.0.113.1", "probe 203.0.113.99"]);
  t.same(woken, [], "nobody answers for one, the other is right");
  t.same(await watch.observe(hops, [], true), []);
  t.same(asked, [], "passes probe once");

  const again = watchOver(states, { ...answers, "203.0.113.1": right });
  await again.watch.observe(hops, [], true);
  await settled();
  t.same([...new Set(again.woken)], ["next hop"]);
  const silent = await again.watch.observe(hops, [], true);
  t.same(silent, [{ ...hops[0], fixedMac: wrong, answeredBy: right }]);
  t.equal(await again.watch.observe(hops, [], true), silent, "unchanged");
  states["203.0.113.1"] = "known";
  t.same(await again.watch.observe(hops, [], true), []);
});

t.test("a permanent entry of a host is compared, too, and forgotten with it", async (t) => {
  const [right, wrong] = ["02:00:00:00:00:05", "02:de:ad:00:00:01"];
  const [pod, router] = [hop("10.0.1.5"), hop("203.0.113.1")];
  const permanent = [pod, router];
  const states: Record<string, NeighbourState> = {
    "10.0.1.5": `fixed ${wrong}`,
    "203.0.113.1": `fixed ${right}`,
  };
  const { watch, asked } = watchOver(states, { "10.0.1.5": right, "203.0.113.1": right }, permanent);
  const settled = () => new Promise((resolve) => setTimeout(resolve, 1));
  t.same(await watch.observe([router], [], false), []);
  t.same(asked, [], "a reading outside of passes sends no ARP");
  await watch.observe([router], [], true);
  await settled();
  t.same(asked, ["probe 203.0.113.1", "probe 10.0.1.5"], "each once");
  t.same(await watch.observe([router], [], true), [{ ...pod, fixedMac: wrong, answeredBy: right }]);
  permanent.length = 0;
  t.same(await watch.observe([router], [], true), []);
});

t.test("a host whose permanent entry has just gone may be absent", async (t) => {
  const pod = hop("10.0.1.5");
  const { watch, asked } = watchOver({ "10.0.1.5": "failed" }, {}, [pod]);
  t.same(await watch.observe([], [], true), []);
  t.same(asked, [], "nobody asks for it");
});
