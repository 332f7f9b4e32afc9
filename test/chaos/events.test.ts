/**
 * Changes by other programs are repaired: after an event if the kernel sends one, otherwise by the timer. Bursts of
 * events and another writer that undoes repairs. Times are printed, not asserted.
 */
import t, { type Test } from "tap";
import { maxQuickRepairs } from "../../agent/reconciler/retry/repair-throttle.ts";
import { type DataplaneName, dataplanes, Gateway } from "../support/gateway.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";
import { EventTape } from "./event-tape.ts";

const samples = [20, 21, 22, 23, 24];
const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12), ...samples.map(eip)],
  fips: [
    { name: "fip", eip: "eip-12", internalIp: "10.0.1.5" },
    ...samples.map((n) => ({ name: `fip-${n}`, eip: `eip-${n}`, internalIp: `10.0.1.${n}` })),
  ],
  snats: [{ name: "all", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
  dnats: [
    {
      name: "web",
      eip: "eip-11",
      protocol: "tcp",
      externalPort: 80,
      internalIp: "10.0.1.6",
      internalPort: 80,
    },
  ],
  routes: samples.map((n) => ({ name: `far-${n}`, destination: `10.${n}.0.0/16`, via: "10.0.1.6" })),
};
const foreign = Array.from({ length: 5_000 }, (_, index) => `198.18.${index >> 8}.${index & 255}/32`);
const dnat = "EXCLUSIVE_DNAT -d 203.0.113.12/32 -j DNAT --to-destination 10.0.1.5";
/**
 * One for each sample. No interval maps: `nft monitor` 1.0.6 crashes when an element is added to one that is older than
 * the monitor.
 */
const filledMaps = ["fip_out", "dnat_1", "hairpin", "fip_out", "hairpin"];
const hooks = ["PREROUTING -j DNAT_FILTER", "POSTROUTING -j SNAT_FILTER"];

interface Damage {
  readonly what: string;
  /** Changes something of the `index`th sample. Each sample is another one, so that repairs are not throttled. */
  readonly act: (gw: Gateway, sample: number, index: number) => Promise<unknown>;
  readonly broken: RegExp;
  readonly repaired: RegExp;
}

const networkDamage: readonly Damage[] = [
  {
    what: "address",
    act: (gw, n) => gw.lab.ip("gw", `address delete 203.0.113.${n}/24 dev net1`),
    broken: /^Deleted .* inet 203\.0\.113\./,
    repaired: /^\d+: net1 +inet 203\.0\.113\./,
  },
  {
    what: "route",
    act: (gw, n) => gw.lab.ip("gw", `route delete 10.${n}.0.0/16`),
    broken: /^Deleted 10\.2\d\.0\.0\/16/,
    repaired: /^10\.2\d\.0\.0\/16 via/,
  },
];

/** An EIP and a FIP that nothing else here damages: only repairs of what the writer takes count in its fight. */
const preyEip = { address: "203.0.113.14/24" };
const preyFip = { eip: "prey", internalIp: "10.0.1.14" };
const preyRule = "EXCLUSIVE_DNAT -d 203.0.113.14/32 -j DNAT --to-destination 10.0.1.14";

/** A change that a writer undoes repeatedly. */
interface Prey {
  readonly take: readonly string[];
  /** What the status must name. */
  readonly what: string;
  /** The affected object. */
  readonly path: string;
}

/** How rules are damaged, and whether the kernel sends an event. */
interface Manner {
  readonly tells: boolean;
  readonly ruleDamage: readonly Damage[];
  readonly prey: Prey;
}

const byNft = (gw: Gateway, command: string) => gw.lab.exec("gw", ["nft", command]);
const manners: Readonly<Record<DataplaneName, Manner>> = {
  "iptables-nft": {
    tells: true,
    ruleDamage: [
      {
        what: "rule",
        act: (gw, n) =>
          gw.restore("*nat", `-D EXCLUSIVE_SNAT -s 10.0.1.${n} -j SNAT --to 203.0.113.${n}`, "COMMIT"),
        broken: /^delete rule ip nat EXCLUSIVE_SNAT/,
        repaired: /^add rule ip nat EXCLUSIVE_SNAT/,
      },
      {
        what: "unhooked chain",
        act: (gw, _, index) => gw.restore("*nat", `-D ${hooks[index % 2]}`, "COMMIT"),
        broken: /^delete rule ip nat (PRE|POST)ROUTING/,
        repaired: /rule ip nat (PRE|POST)ROUTING .*jump [DS]NAT_FILTER/,
      },
    ],
    prey: {
      take: ["iptables-nft", "-t", "nat", "-D", ...preyRule.split(" ")],
      what: preyRule,
      path: "fips/prey",
    },
  },
  "iptables-legacy": {
    tells: false,
    ruleDamage: [],
    prey: {
      take: ["ip", "address", "delete", preyEip.address, "dev", "net1"],
      what: preyEip.address,
      path: "eips/prey",
    },
  },
  nftables: {
    tells: true,
    ruleDamage: [
      {
        what: "map element",
        act: (gw, n) => byNft(gw, `delete element ip natgw fip_out { 10.0.1.${n} }`),
        broken: /^delete element ip natgw fip_out/,
        repaired: /^add element ip natgw fip_out/,
      },
      {
        what: "flushed map",
        act: (gw, _, index) => byNft(gw, `flush map ip natgw ${filledMaps[index]}`),
        broken: /^delete element ip natgw/,
        repaired: /^add element ip natgw/,
      },
    ],
    prey: {
      take: ["nft", "delete element ip natgw fip_in { 203.0.113.14 }"],
      what: "fip_in { 203.0.113.14 :",
      path: "fips/prey",
    },
  },
};

const deletedTable: Damage = {
  what: "deleted table",
  act: (gw) => byNft(gw, "delete table ip natgw"),
  broken: /^delete table ip natgw$/,
  repaired: /^add table ip natgw$/,
};

/** Prints how long each kind of damage lasted. */
async function timeRepairs(t: Test, gw: Gateway, damages: readonly Damage[]): Promise<void> {
  const tape = await EventTape.start(gw.lab.namespaceOf("gw"));
  t.teardown(() => tape.stop());
  for (const { what, act, broken, repaired } of damages) {
    const times: number[] = [];
    for (const [index, n] of samples.entries())
      times.push(await tape.timeRepair(() => act(gw, n, index), broken, repaired));
    const [median = 0] = times.toSorted((a, b) => a - b).slice(samples.length >> 1);
    t.comment(`${gw.dataplane}: ${what} repaired after ${median.toFixed(0)} ms, median of ${times.length}`);
  }
}

/**
 * Log lines of passes that repaired something and were not woken by an event. What a pass saw when it read back is no drift for
 * the next one, which needs no event.
 */
function repairsByTimer(gw: Gateway): readonly string[] {
  const changes = gw.agent.log.split("\n").filter((line) => line.includes("pass changed the kernel"));
  return changes.filter((line) => line.includes('"reasons":["timer"]') && line.includes('"isDrift":true'));
}

/** Traffic works in both directions, and the plan is empty. */
async function expectWhole(t: Test, gw: Gateway): Promise<void> {
  t.match(await gw.host("outside").ask(tcp("203.0.113.12")), { answeredBy: "pod1" });
  t.match(await gw.host("pod2").ask(outsideTcp), { seenAs: "203.0.113.11" });
  await gw.expectConverged(t);
}

/** In several commands: on a busy machine one would take too long. */
async function inStorm(gw: Gateway, verb: "add" | "delete"): Promise<void> {
  for (let at = 0; at < foreign.length; at += 1_000) {
    const lines = foreign.slice(at, at + 1_000).map((address) => `address ${verb} ${address} dev eth0`);
    await gw.lab.ip("gw", ...lines);
  }
}

for (const dataplane of dataplanes) {
  const { tells, ruleDamage, prey } = manners[dataplane];
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane, { NATGW_RESYNC_INTERVAL: tells ? "10m" : "1s" });
    t.equal((await gw.api.putSet(set)).status, 200);
    await expectWhole(t, gw);
    const rulesBefore = await gw.translations();

    await t.test("events trigger the repair of addresses, routes and rules", async (t) => {
      await timeRepairs(t, gw, [...networkDamage, ...ruleDamage]);
      if (tells) t.same(repairsByTimer(gw), [], "no repair waited for a timer");
      t.same((await gw.translations()).toSorted(), rulesBefore.toSorted());
      await expectWhole(t, gw);
    });

    await t.test("what the kernel removes with a link without an event is repaired", async (t) => {
      for (const [nic, route] of [
        ["net1", "default"],
        ["eth0", "10.20.0.0/16"],
      ] as const) {
        await gw.lab.ip("gw", `link set ${nic} down`, `link set ${nic} up`);
        await until(`${route} after ${nic} was down`, async () =>
          (await gw.lab.exec("gw", ["ip", "route", "show", route])).includes("via"),
        );
      }
      await expectWhole(t, gw);
    });

    if (!tells) {
      await t.test("the timer repairs rules", async (t) => {
        await gw.restore("*nat", `-D ${dnat}`, "-D PREROUTING -j DNAT_FILTER", "COMMIT");
        await until(
          "the rules to return",
          async () => (await gw.translations()).length === rulesBefore.length,
        );
        await expectWhole(t, gw);
      });
    }

    await t.test("a burst of events while the agent is stopped", async (t) => {
      const lost = await gw.api.metric("natgw_events_lost_total");
      process.kill(gw.agent.pid, "SIGSTOP");
      try {
        await inStorm(gw, "add");
        await gw.byHand.flush();
        await gw.lab.ip("gw", "address delete 203.0.113.11/24 dev net1", "route delete default");
        await inStorm(gw, "delete");
      } finally {
        process.kill(gw.agent.pid, "SIGCONT");
      }
      await until(
        "the gateway to be whole again",
        async () => {
          const missing = [
            (await gw.addresses("net1")).includes("203.0.113.11/24"),
            (await gw.lab.exec("gw", ["ip", "route", "show", "default"])).includes("via"),
            (await gw.translations()).length === rulesBefore.length,
          ];
          return missing.every(Boolean);
        },
        20_000,
      );
      t.ok((await gw.api.metric("natgw_events_lost_total")) > lost, "events were lost, and that was noticed");
      await expectWhole(t, gw);
      t.same((await gw.api.status()).degraded, []);
    });

    await t.test("a writer that undoes every repair", async (t) => {
      const { take, what, path } = prey;
      t.equal((await gw.api.put("eips/prey", preyEip)).status, 200);
      t.equal((await gw.api.put("fips/prey", preyFip)).status, 200);
      const undoOnce = () =>
        gw.lab.exec("gw", take).then(
          () => true,
          () => false,
        );
      let undone = 0;
      const fight = await until("the fight to be seen", async () => {
        if (await undoOnce()) undone += 1;
        return (await gw.api.status()).degraded.find(({ reason }) => reason === "Fighting");
      });
      t.match(fight.message, what, "what is fought over is said");
      t.ok(undone > maxQuickRepairs, `undone ${undone} times`);

      const readyCondition = async () => (await gw.api.get(path)).body.status.conditions.at(-1);
      const untilHeldBack = () =>
        until("a repair to be held back, and its object to say so", async () => {
          await undoOnce();
          const isKnown = (await readyCondition())?.message.startsWith("another program undid it");
          return isKnown && (await gw.api.plan()).changes.length > 0;
        });
      await untilHeldBack();
      t.match(await readyCondition(), { status: "False" });
      await gw.api.reconcile();
      t.same((await gw.api.plan()).changes, [], "who asks for a pass gets the repair at once");
      t.match(await readyCondition(), { status: "True" });
      t.match((await gw.api.status()).degraded, [{ reason: "Fighting" }], "which does not end the fight");
      await untilHeldBack();

      const other = await gw.api.put("fips/other", { eip: "eip-10", internalIp: "10.0.1.6" });
      t.equal(other.status, 200, "others are not held up");
      t.match(await gw.host("outside").ask(tcp("203.0.113.10")), { answeredBy: "pod2" });
      t.ok([200, 202, 204].includes((await gw.api.delete("fips/other", "")).status));

      await until("the last repair", async () => (await gw.api.plan()).changes.length === 0);
      await expectWhole(t, gw);
      const lines = gw.agent.log.split("\n").filter((line) => line.includes("another program keeps undoing"));
      t.equal(lines.length, 1, "one line a minute");
      t.match(lines[0], what);
    });
  });
}

// A gateway of its own: up to five repairs of the same thing are no fight.
t.test("nftables: the whole table comes back", async (t) => {
  const gw = await Gateway.start(t, "nftables", { NATGW_RESYNC_INTERVAL: "10m" });
  t.equal((await gw.api.putSet(set)).status, 200);
  const stream = await gw.host("outside").open(tcp("203.0.113.12"));
  const before = await gw.translations();
  await timeRepairs(t, gw, [deletedTable]);
  t.same(repairsByTimer(gw), [], "no repair waited for a timer");
  await until("the last repair", async () => (await gw.api.plan()).changes.length === 0);
  t.same(await gw.translations(), before);
  t.ok(await stream.advance(5_000), "a live flow goes on");
  t.ok((await stream.close()).isIntact);
  await expectWhole(t, gw);
  t.same((await gw.api.status()).degraded, [], "and nobody calls it a fight");
});
