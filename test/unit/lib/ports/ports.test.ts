/** What a census of flows says about the ports of EIPs. */
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { type Flow, flowStatus, viewOf } from "../../../../lib/conntrack/flow.ts";
import { makeInterfaceAddress } from "../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { forecast, portCapacity } from "../../../../lib/ports/capacity.ts";
import { Census, censusKey, countedEips } from "../../../../lib/ports/census.ts";
import { countedProtocols, flowStates } from "../../../../lib/ports/flow-state.ts";
import { mostOf } from "../../../../lib/ports/most.ts";
import { portReport } from "../../../../lib/ports/port-report.ts";
import { top } from "../../../../lib/ports/top.ts";
import { flow, ip } from "../../../support/conntrack-samples.ts";

const { seenReply, assured, dying } = flowStatus;
const tcp = { synSent: 1, established: 3, finWait: 4, closeWait: 5, lastAck: 6, timeWait: 7, close: 8 };

const eips = new Map(
  ["203.0.113.10", "203.0.113.11"].map((address) => [
    censusKey(ipv4, ip(address)),
    { name: `eip-${address.slice(-2)}`, address: ip(address) },
  ]),
);
const eip10 = censusKey(ipv4, ip("203.0.113.10"));
const eip11 = censusKey(ipv4, ip("203.0.113.11"));

function censusOf(flows: readonly (readonly [flow: Flow, tcpState?: number])[], atMs = 0): Census {
  const census = new Census(ipv4, eips, atMs);
  for (const [one, tcpState = 0] of flows) census.add(viewOf(one, ipv4), tcpState);
  return census;
}

/** From a client by SNAT of EIP 10. */
function outward(
  index: number,
  client = "10.0.1.5",
  destination = "198.51.100.7:443",
  status = seenReply,
): Flow {
  const to = `203.0.113.10:${1_024 + index}`;
  return flow(`tcp ${client}:${10_000 + index} ${destination} | ${destination} ${to}`, { status });
}

/** How many flows of each protocol and state. */
function connections(census: Census, key = eip10): Record<string, number> {
  const found: Record<string, number> = {};
  census.connectionsOf(key)?.forEach((count, index) => {
    const protocol = countedProtocols[Math.floor(index / flowStates.length)];
    if (count > 0) found[`${protocol} ${flowStates[index % flowStates.length]}`] = count;
  });
  return found;
}

t.test("of two Eips that claim one address the older is counted", async (t) => {
  const eip = (name: string, address: string) => ({
    spec: { name, address: makeInterfaceAddress(ip(address), 24) },
  });
  const counted = runSync(
    countedEips([eip("old", "203.0.113.10"), eip("b", "203.0.113.11"), eip("new", "203.0.113.10")], ipv4),
  );
  t.strictSame(
    Array.from(counted.values(), ({ name }) => name),
    ["old", "b"],
  );
  t.equal(counted.get(eip10)?.name, "old");
});

t.test("flows are counted by protocol and state, in both directions", async (t) => {
  const reply = "10.0.1.5:80 198.51.100.7:4000";
  const inward = (protocol: string, status: number) =>
    flow(`${protocol} 198.51.100.7:4000 203.0.113.10:80 | ${reply}`, { status });
  const census = censusOf([
    [outward(1), tcp.established],
    [outward(2, undefined, undefined, 0), tcp.synSent],
    [outward(3), tcp.finWait],
    [outward(4), tcp.closeWait],
    [outward(5), tcp.lastAck],
    [outward(6), tcp.timeWait],
    [outward(7, undefined, undefined, 0), tcp.close],
    [inward("udp", 0)],
    [inward("udp", seenReply)],
    [inward("udp", seenReply | assured)],
    [flow("icmp 10.0.1.5 198.51.100.7 | 198.51.100.7 203.0.113.10", { status: seenReply })],
    [flow("gre 10.0.1.5 198.51.100.7 | 198.51.100.7 203.0.113.10", { status: seenReply | assured })],
    [outward(8, undefined, undefined, seenReply | dying), tcp.established],
    [{ ...outward(9), zone: 7 }, tcp.established],
    [flow("tcp 10.0.1.5:1 198.51.100.7:80"), tcp.established],
  ]);
  t.strictSame(connections(census), {
    "tcp established": 1,
    "tcp unreplied": 1,
    "tcp transitory": 3,
    "tcp closing": 2,
    "udp unreplied": 1,
    "udp transitory": 1,
    "udp established": 1,
    "icmp transitory": 1,
    "other established": 1,
  });
  const [use] = census.destinations.of(eip10);
  t.match(use, { live: 5, closing: 2, port: 443 }, "incoming flows and protocols without ports take no port");
  t.equal([...census.destinations.of(eip10)].length, 1);
});

t.test("a flow from one EIP to another counts for both, to itself once", async (t) => {
  const census = censusOf([
    [flow("udp 10.0.1.5:1 203.0.113.11:80 | 10.0.1.6:80 203.0.113.10:2000")],
    [flow("udp 10.0.1.5:2 203.0.113.10:80 | 10.0.1.6:80 203.0.113.10:2001")],
  ]);
  t.strictSame(connections(census), { "udp unreplied": 2 });
  t.strictSame(connections(census, eip11), { "udp unreplied": 1 });
  const [hairpin] = census.destinations.of(eip10);
  t.match(hairpin, { live: 2, address: ipv4.toValue(ip("10.0.1.6")) }, "its ports are towards the pod");
});

t.test("the report names the worst destination, its clients, and the time left", async (t) => {
  const many = (count: number, client: string, from = 0, tcpState = tcp.established) =>
    Array.from({ length: count }, (_, index) => [outward(from + index, client), tcpState] as const);
  const before = censusOf(many(50_000, "10.0.1.5"), 10_000);
  const now = censusOf(
    [
      ...many(50_000, "10.0.1.5"),
      ...many(11_300, "10.0.1.6", 50_000),
      ...many(3_000, "10.0.1.7", 61_300, tcp.timeWait),
      [outward(64_400, "10.0.1.7", "198.51.100.8:80"), tcp.established],
    ],
    20_000,
  );
  const { destinations, ...rest } = portReport(eip10, now, before, ipv4);
  t.strictSame(rest, { capacity: 64_512, headroom: 64_512 - 61_300, uncounted: 0 });
  t.equal(destinations.length, 2);
  t.strictSame(destinations[0], {
    dst: "198.51.100.7",
    dport: 443,
    protocol: "tcp",
    live: 61_300,
    closing: 3_000,
    ratio: 0.9502,
    newPerSecond: 1_430,
    topClients: [
      { ip: "10.0.1.5", ports: 50_000, share: 0.8157 },
      { ip: "10.0.1.6", ports: 11_300, share: 0.1843 },
    ],
    secondsTo80: 0,
    secondsToFull: 3,
    additionalEipsNeeded: 1,
  });
  t.match(destinations[1], { live: 1, newPerSecond: 0.1, additionalEipsNeeded: 0, secondsTo80: 516_087 });

  const first = portReport(eip10, now, undefined, ipv4).destinations[1];
  t.match(first, { newPerSecond: null, secondsTo80: null, secondsToFull: null }, "one scan tells no growth");
  t.match(portReport(eip11, now, before, ipv4), { destinations: [], headroom: portCapacity });

  const tops = (by: "clients" | "destinations" | "eips") => runSync(top(by, 2, now, ipv4));
  t.strictSame(tops("clients"), [
    { ip: "10.0.1.5", live: 50_000, closing: 0 },
    { ip: "10.0.1.6", live: 11_300, closing: 0 },
  ]);
  t.strictSame(tops("destinations"), [
    { ip: "198.51.100.7", port: 443, protocol: "tcp", live: 61_300, closing: 3_000 },
    { ip: "198.51.100.8", port: 80, protocol: "tcp", live: 1, closing: 0 },
  ]);
  t.strictSame(tops("eips"), [{ ip: "203.0.113.10", eip: "eip-10", live: 61_301, closing: 3_000 }]);
});

t.test("forecasts", async (t) => {
  const at = (live: number, before: number | undefined, seconds = 10) =>
    forecast(
      { live, closing: 0 },
      before === undefined ? undefined : { live: before, closing: 0 },
      seconds,
      1_000,
    );
  t.match(at(500, 400), { ratio: 0.5, newPerSecond: 10, secondsTo80: 30, secondsToFull: 50 });
  t.match(at(900, 800), { secondsTo80: 0, secondsToFull: 10, additionalEipsNeeded: 1 });
  t.match(at(1_000, 900), { secondsToFull: 0 });
  t.strictSame(at(500, 500), {
    ratio: 0.5,
    newPerSecond: 0,
    secondsTo80: undefined,
    secondsToFull: undefined,
    additionalEipsNeeded: 0,
  });
  t.match(at(500, 600), { newPerSecond: 0, secondsTo80: undefined });
  t.match(at(500, 400, 0), { newPerSecond: undefined, secondsTo80: undefined }, "no time has passed");
  t.equal(at(800, undefined).additionalEipsNeeded, 0);
  t.equal(at(801, undefined).additionalEipsNeeded, 1);
  t.equal(at(1_601, undefined).additionalEipsNeeded, 2);
});

t.test("the most of many, equal ones in their order", async (t) => {
  const items = [3, 1, 3, 2, 0].map((value, index) => ({ value, index }));
  const most = (count: number) => mostOf(items, count, ({ value }) => value).map(({ index }) => index);
  t.strictSame(most(2), [0, 2]);
  t.strictSame(most(4), [0, 2, 3, 1]);
  t.strictSame(most(9), [0, 2, 3, 1, 4]);
});
