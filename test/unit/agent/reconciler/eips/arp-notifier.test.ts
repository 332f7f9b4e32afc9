/** Which EIPs are announced and probed when passes find links and addresses. */
import t from "tap";
import { ArpNotifier } from "../../../../../agent/reconciler/eips/arp-notifier.ts";
import { HeldEips } from "../../../../../agent/reconciler/eips/held-eips.ts";
import type { InterfaceName, ObjectId } from "../../../../../lib/model/names.ts";
import type { ObservedLink, ObservedNetwork } from "../../../../../lib/model/observed.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import { net1, onNet1 } from "../../../../support/fake-wire.ts";

const eips = ["203.0.113.10", "203.0.113.11", "203.0.113.12"].map(onNet1);
const program = {
  eips: eips.map((place) => ({ ...place, id: "eips/a" as ObjectId, prefixLength: 24 })),
} as unknown as Program;
const link: ObservedLink = { index: 3, name: net1, mac: "02:00:00:00:00:01", isUp: true, hasCarrier: true };
const eth0: ObservedLink = { ...link, index: 2, name: "eth0" as InterfaceName };

function network(held: readonly number[], links: readonly ObservedLink[] = [link, eth0]): ObservedNetwork {
  const addresses = held.flatMap((index) => {
    const place = eips[index];
    return place === undefined ? [] : [{ ...place, prefixLength: 24, isSecondary: false, label: "" }];
  });
  return { links, addresses, routes: [], sysctls: new Map() };
}

function setUp(isProbing = true) {
  const told = { announced: [] as string[], probed: [] as string[] };
  const free = new Set<string>();
  const notifier = new ArpNotifier({
    announcer: {
      announce: (places) => told.announced.push(...places.map(({ address }) => address.slice(-2))),
    },
    arpProbe: { isProbing, isFree: (address) => free.has(address) },
    heldEips: new HeldEips(),
    arpConflicts: { probe: (places) => told.probed.push(...places.map(({ address }) => address.slice(-2))) },
  });
  const tell = async (before: ObservedNetwork, after = before) => {
    told.announced = [];
    told.probed = [];
    await notifier.announceNew(program, before, after);
    return [told.announced, told.probed];
  };
  return { tell, free };
}

t.test("at start all EIPs are announced, and held ones are probed", async (t) => {
  const { tell, free } = setUp();
  free.add("203.0.113.11");
  t.strictSame(await tell(network([0]), network([0, 1])), [["10", "11"], ["10"]]);
  const rest = network([0, 1]);
  t.strictSame(await tell(rest), [[], []], "a pass that finds all as it was tells nothing");
  t.strictSame(await tell(rest, network([0, 1])), [[], []]);
});

t.test("where others may hold the same EIPs, a start announces only those that it adds", async (t) => {
  const { tell } = setUp(false);
  t.strictSame((await tell(network([0]), network([0, 1])))[0], ["11"]);
  t.strictSame((await tell(network([0, 1]), network([0, 1], [eth0])))[0], []);
  t.strictSame((await tell(network([0, 1])))[0], ["10", "11"], "its link came up");
});

t.test("added EIPs are announced; EIPs restored without a probe are probed afterwards", async (t) => {
  const { tell, free } = setUp();
  await tell(network([]));
  free.add("203.0.113.10");
  t.strictSame(await tell(network([]), network([0])), [["10"], []]);
  free.clear();
  t.strictSame(await tell(network([0]), network([0, 1])), [["11"], ["11"]], "one that somebody took away");
  t.strictSame(await tell(network([0, 1]), network([0])), [[], []]);
});

t.test("when a link comes up, its EIPs are probed again", async (t) => {
  const { tell } = setUp();
  const all = [
    ["10", "11"],
    ["10", "11"],
  ];
  const changes: readonly (readonly [string, Partial<ObservedLink>, unknown])[] = [
    ["it is there", {}, all],
    ["it goes down", { isUp: false, hasCarrier: false }, [[], []]],
    ["it is down still", { isUp: false, hasCarrier: false }, [[], []]],
    ["up without a carrier", { hasCarrier: false }, [[], []]],
    ["the carrier", {}, all],
    ["nothing", {}, [[], []]],
    ["made anew", { index: 9 }, all],
    ["another MAC", { index: 9, mac: "02:00:00:00:00:02" }, all],
  ];
  for (const [what, change, expected] of changes)
    t.strictSame(await tell(network([0, 1], [{ ...link, ...change }, eth0])), expected, what);
  t.strictSame(
    await tell(
      network(
        [0, 1],
        [
          { ...link, index: 9, mac: "02:00:00:00:00:02" },
          { ...eth0, index: 12 },
        ],
      ),
    ),
    [[], []],
    "another link's comings and goings do not matter",
  );
});
