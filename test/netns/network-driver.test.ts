/** The network planners and their driver on a real kernel, in a namespace that ends with this process. */

import { mkdtemp, readFile, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { openClock } from "../../agent/clock.ts";
import { readEpoch } from "../../agent/kernel/epoch.ts";
import { NETLINK_ROUTE, openNetlink } from "../../agent/kernel/netlink/connection.ts";
import { createNetworkDriver } from "../../agent/kernel/network/driver.ts";
import type { Ip } from "../../lib/model/ip.ts";
import { ipv4, parseCidr } from "../../lib/model/ipv4.ts";
import { emptyLedger, type Ledger, type LedgerAddress, ledgerKey } from "../../lib/model/ledger.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Program } from "../../lib/model/program.ts";
import type { AddressStep, Binding } from "../../lib/plan/address-plan.ts";
import { describeAddressStep, planAddresses } from "../../lib/plan/network/addresses.ts";
import { bindingRoute, localTable } from "../../lib/plan/network/bindings.ts";
import { describeRouteStep, planRoutes } from "../../lib/plan/network/routes.ts";
import { describeSysctlStep, planSysctls } from "../../lib/plan/network/sysctls.ts";
import { device, entryOf, fail, toIp } from "../support/network-values.ts";
import { run } from "../support/run.ts";

const signal = new AbortController().signal;
const inside = "NATGW_TEST_UNSHARED";

const netlink = openNetlink(NETLINK_ROUTE);
const driver = createNetworkDriver({ netlink, family: ipv4 });
const nothing = { changes: [], failures: [], blocked: [], orphans: [], ledgerMissing: [], ledgerStale: [] };

interface Wish {
  readonly eips?: readonly string[];
  readonly defaultGateway?: string;
  readonly routes?: Readonly<Record<string, string>>;
  readonly ownedByRules?: readonly string[];
  readonly binding?: Binding;
}

/** Recreates a gateway's interfaces, and runs passes over them like the reconciler. */
class Gateway {
  #ledger: Ledger = emptyLedger;
  #wish: Wish = {};

  static async make(): Promise<Gateway> {
    for (const name of ["eth0", "net1"]) await run("ip", ["link", "del", name]).catch(() => undefined);
    await ip("link set lo up; link add eth0 type veth peer eth0-far; link add net1 type veth peer net1-far");
    await ip("link set eth0 up; link set eth0-far up; link set net1 up; link set net1-far up");
    await ip("address add 10.0.1.2/24 dev eth0; address add 203.0.113.2/24 dev net1");
    return new Gateway();
  }

  holds(key: string): boolean {
    return this.#ledger.addresses.has(key);
  }

  /** One pass with a new desired set, or with the last one again. */
  async pass(wish: Wish = this.#wish) {
    this.#wish = wish;
    const program = programOf(wish);
    const observed = await driver.observe(signal);
    const sysctls = planSysctls(program, observed);
    const routes = planRoutes({ program, observed });
    const planOn = (observed: ObservedNetwork) =>
      planAddresses({
        program,
        observed,
        ledger: this.#ledger,
        ownedByRules: new Set(wish.ownedByRules?.map(toIp)),
        keep: new Set(),
        binding: wish.binding ?? "address",
      });
    const plan = planOn(observed);
    this.#write([...plan.ledgerMissing, ...plan.add.map((step) => step.entry)], []);
    const failures = [
      ...(await driver.applySysctls(sysctls, signal)),
      ...(await driver.applyAddresses(plan.add, signal)),
      ...(await driver.applyRoutes(routes.steps, signal)),
      ...(await driver.applyAddresses(plan.remove, signal)),
    ];
    this.#write([], planOn(await driver.observe(signal)).ledgerStale);
    const result = {
      changes: [
        ...sysctls.map(describeSysctlStep),
        ...plan.add.map(describeAddressStep),
        ...plan.remove.map(describeAddressStep),
        ...routes.steps.map(describeRouteStep),
      ].map((change) => change.text),
      failures: failures.map((failure) => `${failure.code}: ${failure.message}`),
      blocked: [...plan.blocked, ...routes.blocked].map((item) => item.message),
      orphans: plan.orphans.map(ledgerKey),
      ledgerMissing: plan.ledgerMissing,
      ledgerStale: plan.ledgerStale,
    };
    return Object.defineProperty(result, "own", { value: plan.own }) as typeof result & {
      readonly own: ReadonlySet<Ip>;
    };
  }

  #write(added: readonly LedgerAddress[], removed: readonly LedgerAddress[]): void {
    const addresses = new Map(this.#ledger.addresses);
    for (const entry of added) addresses.set(ledgerKey(entry), entry);
    for (const entry of removed) addresses.delete(ledgerKey(entry));
    this.#ledger = { ...this.#ledger, addresses };
  }
}

function programOf(wish: Wish): Program {
  return {
    family: ipv4,
    vpcInterface: device("eth0"),
    externalInterface: device("net1"),
    defaultGateway: wish.defaultGateway === undefined ? undefined : toIp(wish.defaultGateway),
    eips: (wish.eips ?? []).map((eip) => ({ id: `eips/${eip}`, ...entryOf("net1", eip) })),
    fips: [],
    dnats: [],
    pools: [],
    routes: Object.entries(wish.routes ?? {}).map(([destination, via]) => ({
      id: `routes/${destination}` as const,
      destination: parseCidr(destination) ?? fail(destination),
      via: toIp(via),
      interface: device("eth0"),
    })),
  };
}

function tests(): void {
  t.teardown(() => netlink.close());

  t.test("addresses come beside the gateway's own, and a second pass plans nothing", async (t) => {
    const gateway = await Gateway.make();
    const result = await gateway.pass({ eips: ["203.0.113.10/24", "203.0.113.11/24"] });
    t.same(result.changes, [
      "sysctl net.ipv4.ip_forward=1",
      "sysctl net.ipv4.conf.eth0.forwarding=1",
      "sysctl net.ipv4.conf.net1.forwarding=1",
      "sysctl net.ipv4.conf.net1.promote_secondaries=1",
      "ip address add 203.0.113.10/24 dev net1",
      "ip address add 203.0.113.11/24 dev net1",
    ]);
    t.same(result.failures, []);
    t.same(await addresses("net1"), ["203.0.113.2/24", "203.0.113.10/24", "203.0.113.11/24"]);
    t.same(await gateway.pass(), nothing);
    t.equal(await run("sysctl", ["-n", "net.ipv4.ip_forward"]), "1\n");

    await gateway.pass({ eips: ["203.0.113.11/24"] });
    t.same(await addresses("net1"), ["203.0.113.2/24", "203.0.113.11/24"]);
    t.same(await gateway.pass(), nothing);
  });

  t.test("the state at first contact is classified", async (t) => {
    const gateway = await Gateway.make();
    await ip("address add 203.0.113.10/24 dev net1; address add 203.0.113.11/24 dev net1");
    await ip("address add 203.0.113.66/24 dev net1; address add 198.51.100.7/25 dev net1");
    const result = await gateway.pass({ eips: ["203.0.113.10/24"], ownedByRules: ["203.0.113.11"] });
    t.same([...result.own].sort(), ["10.0.1.2", "127.0.0.1", "198.51.100.7", "203.0.113.2"]);
    t.same(result.orphans, ["net1 203.0.113.66/24"]);
    t.ok(gateway.holds("net1 203.0.113.10/24"), "an EIP that is there is adopted");
    t.same(
      await addresses("net1"),
      ["203.0.113.2/24", "198.51.100.7/25", "203.0.113.10/24", "203.0.113.66/24"],
      "one that only a rule names goes",
    );
    t.same((await gateway.pass()).changes, []);

    const refused = await gateway.pass({ eips: ["203.0.113.2/24", "10.0.1.2/24"] });
    t.same(
      refused.changes,
      ["ip address del 203.0.113.10/24 dev net1"],
      "own addresses stay, whatever is asked",
    );
  });

  t.test("deleting a subnet's primary EIP removes no other address", async (t) => {
    const gateway = await Gateway.make();
    const eips = ["203.0.113.10/24", "203.0.113.11/24", "203.0.113.12/24"];
    await gateway.pass({ eips, defaultGateway: "203.0.113.1" });
    await ip("address flush dev net1");
    const restored = await gateway.pass();
    t.notOk(restored.own.has(toIp("203.0.113.10")), "an EIP that became primary is not the gateway's own");
    t.same(await addresses("net1"), eips);

    await gateway.pass({ eips: eips.slice(1), defaultGateway: "203.0.113.1" });
    t.same(await addresses("net1"), eips.slice(1));
    t.match(await routes(), ["default via 203.0.113.1 dev net1 proto 196 onlink"]);
    t.same(await gateway.pass(), nothing);

    await ip("address add 203.0.113.2/24 dev net1");
    t.ok((await gateway.pass()).own.has(toIp("203.0.113.2")), "its own is known again when it comes back");
  });

  t.test("without promote_secondaries a primary address waits for it", async (t) => {
    const gateway = await Gateway.make();
    await ip("address flush dev net1");
    const eips = ["203.0.113.10/24", "203.0.113.11/24"];
    await gateway.pass({ eips });
    await run("sysctl", ["-q", "net.ipv4.conf.net1.promote_secondaries=0"]);
    const result = await gateway.pass({ eips: eips.slice(1) });
    t.match(result.blocked, [
      "promote_secondaries is off on net1: removing it would remove other addresses too",
    ]);
    t.same(await addresses("net1"), eips);
    t.same((await gateway.pass()).blocked, []);
    t.same(await addresses("net1"), eips.slice(1));
  });

  t.test("an EIP changes its prefix length without ceasing to be local", async (t) => {
    const gateway = await Gateway.make();
    await gateway.pass({ eips: ["203.0.113.10/32"] });
    const result = await gateway.pass({ eips: ["203.0.113.10/24"] });
    t.same(result.changes, [
      "ip address add 203.0.113.10/24 dev net1",
      "ip address del 203.0.113.10/32 dev net1",
    ]);
    t.same(await addresses("net1"), ["203.0.113.2/24", "203.0.113.10/24"]);
    t.match(await run("ip", ["route", "show", "table", "local", "203.0.113.10"]), /local 203\.0\.113\.10/);
    t.same(await gateway.pass(), nothing);
  });

  t.test("the default route of metric 0 is the agent's while a gateway is known", async (t) => {
    const gateway = await Gateway.make();
    await ip("route add default via 10.0.1.1 dev eth0; route append default via 10.0.1.9 dev eth0");
    await ip("route add default via 10.0.1.1 dev eth0 metric 100");
    t.same((await gateway.pass()).changes.filter(isRoute), [], "none known: left alone");
    const result = await gateway.pass({ defaultGateway: "192.0.2.1" });
    t.same(result.failures, []);
    t.same(result.changes, [
      "ip route replace default via 192.0.2.1 dev net1 proto 196 onlink (was: default via 10.0.1.1 dev eth0 proto 3)",
      "ip route del default via 10.0.1.9 dev eth0 proto 3",
    ]);
    const foreign = "default via 10.0.1.1 dev eth0 metric 100";
    t.same(await defaults(), ["default via 192.0.2.1 dev net1 proto 196 onlink", foreign]);
    t.same(await gateway.pass(), nothing);

    await gateway.pass({ defaultGateway: "203.0.113.1" });
    t.same(await defaults(), ["default via 203.0.113.1 dev net1 proto 196 onlink", foreign]);
    await gateway.pass({});
    t.same(await defaults(), [foreign], "a gateway no longer known leaves nothing behind");
    t.same(await gateway.pass(), nothing);
  });

  t.test(
    "routes are kept under the agent's own protocol, foreign ones to the same destination are replaced",
    async (t) => {
      const gateway = await Gateway.make();
      await ip("route add 10.8.0.0/16 via 10.0.1.1 dev eth0; route add 10.9.0.0/16 via 10.0.1.1 dev eth0");
      await ip("route add 10.7.0.0/16 via 10.0.1.1 dev eth0 metric 5; route add blackhole 10.6.0.0/16");
      const result = await gateway.pass({
        routes: {
          "10.1.0.0/16": "10.0.1.1",
          "10.6.0.0/16": "10.0.1.1",
          "10.7.0.0/16": "10.0.1.1",
          "10.8.0.0/16": "10.0.1.1",
          "10.9.0.0/16": "10.0.1.7",
          "10.0.1.0/24": "10.0.1.1",
          "10.5.0.0/16": "172.16.0.1",
        },
      });
      t.same(result.changes.filter(isRoute), [
        "ip route add 10.1.0.0/16 via 10.0.1.1 dev eth0 proto 196",
        "ip route replace 10.6.0.0/16 via 10.0.1.1 dev eth0 proto 196 (was: blackhole 10.6.0.0/16 proto 3)",
        "ip route add 10.7.0.0/16 via 10.0.1.1 dev eth0 proto 196",
        "ip route replace 10.8.0.0/16 via 10.0.1.1 dev eth0 proto 196 (was: 10.8.0.0/16 via 10.0.1.1 dev eth0 proto 3)",
        "ip route replace 10.9.0.0/16 via 10.0.1.7 dev eth0 proto 196 (was: 10.9.0.0/16 via 10.0.1.1 dev eth0 proto 3)",
        "ip route add 10.5.0.0/16 via 172.16.0.1 dev eth0 proto 196",
      ]);
      t.same(result.failures, ["ENETUNREACH: Nexthop has invalid gateway"], "the kernel's words");
      t.same(result.blocked, ["a connected subnet has the same destination: 10.0.1.0/24 dev eth0 proto 2"]);

      await gateway.pass({ routes: { "10.1.0.0/16": "10.0.1.3" } });
      t.same(await routes(), [
        "10.0.1.0/24 dev eth0 proto kernel scope link src 10.0.1.2",
        "10.1.0.0/16 via 10.0.1.3 dev eth0 proto 196",
        "10.7.0.0/16 via 10.0.1.1 dev eth0 metric 5",
        "203.0.113.0/24 dev net1 proto kernel scope link src 203.0.113.2",
      ]);
      t.same(await gateway.pass(), nothing);
    },
  );

  t.test("what was removed with a link is restored", async (t) => {
    const gateway = await Gateway.make();
    const wish = {
      eips: ["203.0.113.10/24"],
      defaultGateway: "203.0.113.1",
      routes: { "10.1.0.0/16": "10.0.1.1" },
    };
    await gateway.pass(wish);
    const before = await routes();
    await ip("link set net1 down; link set eth0 down");
    const down = await gateway.pass();
    t.same(down.blocked, ["net1 is down", "eth0 is down"]);
    t.same(down.changes, [], "nothing is tried meanwhile");
    await ip("link set net1 up; link set eth0 up");
    t.equal((await gateway.pass()).changes.length, 2);
    t.same(await routes(), before);
    t.same(await gateway.pass(), nothing);

    await ip("link del net1");
    t.same((await gateway.pass()).blocked, [
      "interface net1 does not exist",
      "interface net1 does not exist",
    ]);
    t.same((await gateway.pass({})).failures, []);
    t.same(await routes(), ["10.0.1.0/24 dev eth0 proto kernel scope link src 10.0.1.2"]);
  });

  t.test("EIPs change their binding without ceasing to be local", async (t) => {
    const gateway = await Gateway.make();
    const eips = ["203.0.113.10/24", "203.0.113.11/24"];
    await gateway.pass({ eips });
    const watch = watchLocal("203.0.113.10");
    t.same((await gateway.pass({ eips, binding: "route" })).changes, [
      "ip route append local 203.0.113.10/32 dev net1 table 255 proto 196 metric 77",
      "ip route append local 203.0.113.11/32 dev net1 table 255 proto 196 metric 77",
      "ip address del 203.0.113.10/24 dev net1",
      "ip address del 203.0.113.11/24 dev net1",
    ]);
    t.same(await addresses("net1"), ["203.0.113.2/24"]);
    t.same(await bound(), ["203.0.113.10 dev net1", "203.0.113.11 dev net1"]);
    t.same(await gateway.pass(), nothing);

    t.equal((await gateway.pass({ eips })).changes.length, 4);
    t.same(await addresses("net1"), ["203.0.113.2/24", ...eips]);
    t.same(await bound(), []);
    t.same(await gateway.pass(), nothing);
    t.equal(await watch.stop(), 0, "at no moment was it anything but local");
  });

  t.test("an EIP's route can exist beside a foreign one, and its steps are idempotent", async (t) => {
    const gateway = await Gateway.make();
    await run("sysctl", ["-q", "net.ipv4.conf.net1.arp_ignore=1"]);
    await ip("route add local 203.0.113.10/32 dev net1 table local proto 3 metric 77");
    await ip("route add local 203.0.113.11/32 dev net1 table local proto 3");
    const observed = await driver.observe(signal);
    t.same(
      observed.routes.filter(({ table }) => table === localTable),
      [],
      "of the local table only the agent's own routes are read",
    );
    t.equal(observed.sysctls.get("net.ipv4.conf.net1.arp_ignore"), 1);
    t.equal(observed.sysctls.get("net.ipv4.conf.all.arp_ignore"), 0);

    const eips = ["203.0.113.10/24", "203.0.113.11/24"];
    const { failures } = await gateway.pass({ eips, binding: "route" });
    t.same(failures, []);
    const entries = eips.map((eip) => entryOf("net1", eip));
    t.same(
      (await driver.observe(signal)).routes.filter(({ table }) => table === localTable),
      entries.map(bindingRoute),
    );
    const steps = (kind: AddressStep["kind"]) =>
      entries.map((entry): AddressStep => ({ kind, binding: "route", entry }));
    t.same(await driver.applyAddresses(steps("add"), signal), [], "there already");
    t.equal((await bound()).length, 2, "and not twice");
    t.same(await driver.applyAddresses(steps("remove"), signal), []);
    t.same(await driver.applyAddresses(steps("remove"), signal), [], "gone already");
    t.match(
      await run("ip", ["route", "show", "table", "local", "proto", "3"]),
      /203\.0\.113\.10 .*\n.*203\.0\.113\.11 /,
      "the foreign ones stay",
    );
  });

  t.test(
    "the local route of an address, removed by hand, comes back and goes with the address",
    async (t) => {
      const gateway = await Gateway.make();
      const eips = ["203.0.113.10/24", "203.0.113.11/24", "198.51.100.7/32"];
      await gateway.pass({ eips });
      const local = async () =>
        (await run("ip", ["route", "show", "table", "local", "type", "local", "dev", "net1"]))
          .trim()
          .split("\n");
      const before = await local();
      t.equal((await driver.observe(signal)).unrouted, undefined);
      await ip("route del local 203.0.113.10 dev net1 table local");
      await ip("route del local 198.51.100.7 dev net1 table local");
      await ip("route del local 10.0.1.2 dev eth0 table local");
      const observed = await driver.observe(signal);
      t.same(
        observed.unrouted?.map(({ address }) => address),
        ["10.0.1.2", "198.51.100.7", "203.0.113.10"],
      );
      t.equal(await driver.observe(signal), observed, "an unchanged reading keeps its identity");
      await ip("route add local 10.0.1.2 dev lo table local");
      t.match(await gateway.pass(), { failures: [], changes: { length: 2 } });
      t.same((await local()).toSorted(), before.toSorted(), "exactly as the kernel made them");
      t.equal((await driver.observe(signal)).unrouted, undefined, "another program's route does as well");
      t.same(await gateway.pass(), nothing);
      await gateway.pass({ eips: [] });
      t.equal((await local()).length, 1, "they go with their addresses");
      await ip("route del local 10.0.1.2 dev lo table local");
    },
  );

  t.test("binding routes survive a link flap, but not the loss of the last address", async (t) => {
    const gateway = await Gateway.make();
    const eips = ["203.0.113.10/24", "203.0.113.11/24"];
    const wish = { eips, defaultGateway: "203.0.113.1", binding: "route" } as const;
    await gateway.pass(wish);
    await ip("link set net1 down");
    t.equal((await bound()).length, 2);
    await gateway.pass({ ...wish, eips: [...eips, "203.0.113.12/24"] });
    t.equal((await bound()).length, 3, "and more may come meanwhile");
    await ip("link set net1 up");
    t.equal((await bound()).length, 3);
    await gateway.pass(wish);
    t.same(await gateway.pass(), nothing);

    await ip("address flush dev net1");
    t.same(await bound(), [], "the kernel takes them along");
    t.same((await gateway.pass()).failures, []);
    t.same(await addresses("net1"), ["203.0.113.10/24"], "so one EIP keeps an address for them to rest on");
    t.equal((await bound()).length, 2);
    t.same(await gateway.pass(), nothing);
    await gateway.pass({ ...wish, eips: eips.slice(1) });
    t.same(await addresses("net1"), ["203.0.113.11/24"], "the next takes over when that one goes");
    t.same(await bound(), ["203.0.113.11 dev net1"]);
    t.match(await defaults(), ["default via 203.0.113.1 dev net1 proto 196 onlink"]);
    t.same(await gateway.pass(), nothing);

    await ip("address add 203.0.113.2/24 dev net1");
    t.ok((await gateway.pass()).own.has(toIp("203.0.113.2")));
    t.same(await addresses("net1"), ["203.0.113.2/24"]);
    t.same(await gateway.pass(), nothing);
  });

  t.test("the epoch is this namespace's, the clock is the kernel's", async (t) => {
    const epoch = await readEpoch();
    t.match(epoch, /^[0-9a-f]{8}-[0-9]+$/);
    t.equal(await readEpoch(), epoch);
    const script = 'import("./agent/kernel/epoch.ts").then(async (m) => console.log(await m.readEpoch()))';
    const other = await run("unshare", ["--net", process.execPath, "-e", script]);
    t.equal(other.split("-")[0], epoch.split("-")[0], "the same boot");
    t.not(other.trim(), epoch);

    const clock = await openClock();
    const uptimeMs = async () => Number.parseFloat(await readFile("/proc/uptime", "utf8")) * 1000;
    const before = await uptimeMs();
    const { bootId, bootMs } = clock.instant();
    t.ok(bootMs >= before - 10 && bootMs <= (await uptimeMs()) + 10, "CLOCK_BOOTTIME");
    t.ok(bootId.startsWith(epoch.split("-")[0] ?? "?"));
    t.ok(clock.bootMs() >= bootMs);
  });

  t.test("steps that another program has already done count as done", async (t) => {
    await Gateway.make();
    await driver.observe(signal);
    const binding = "address";
    const entry = entryOf("net1", "203.0.113.2/24");
    const absent = entryOf("net1", "203.0.113.99/24");
    const elsewhere = entryOf("net7", "203.0.113.98/24");
    t.same(
      await driver.applyAddresses(
        [
          { kind: "add", binding, entry },
          { kind: "remove", binding, entry: absent },
          { kind: "remove", binding, entry: elsewhere },
        ],
        signal,
      ),
      [],
    );
    t.match(await driver.applyAddresses([{ kind: "add", binding, entry: elsewhere }], signal), [
      { code: "ENODEV" },
    ]);
  });

  t.test("2,000 addresses, in batches, with two refused among them", async (t) => {
    const gateway = await Gateway.make();
    const eips = Array.from({ length: 2000 }, (_, i) => `198.18.${i >> 8}.${i & 255}/16`);
    await driver.observe(signal);
    const entries = eips.map((eip) => entryOf("net1", eip));
    const bad = ["224.0.0.1/24", "127.0.0.1/40"].map((eip) => entryOf("net1", eip));
    const mixed = [...entries.slice(0, 50), bad[1] ?? entries[0], ...entries.slice(50)];
    const failures = await driver.applyAddresses(
      mixed.flatMap((entry) =>
        entry === undefined ? [] : [{ kind: "add", binding: "address", entry } as const],
      ),
      signal,
    );
    t.match(failures, [{ step: { entry: bad[1] }, code: "EINVAL" }]);
    t.equal(failures.length, 1);
    t.equal((await addresses("net1")).length, 2001);
    t.equal((await gateway.pass({ eips: eips.slice(1) })).own.has(toIp("198.18.0.0")), true);
    t.same(await gateway.pass(), nothing);
    t.same((await gateway.pass({ eips: eips.slice(1), binding: "route" })).failures, []);
    t.equal((await bound()).length, 1999, "and as many routes");
    t.equal((await addresses("net1")).length, 2);
    t.same(await gateway.pass(), nothing);
  });

  t.test("where /proc/sys is read-only, devices are set all the same", async (t) => {
    await Gateway.make();
    await run("sysctl", ["-q", "net.ipv4.ip_forward=0"]);
    const root = await mkdtemp(join(tmpdir(), `natgwt-${process.pid}-`));
    await run("mount", ["--bind", "/proc/sys", root]);
    t.teardown(async () => {
      await run("umount", [root]);
      await rmdir(root);
    });
    await run("mount", ["-o", "remount,bind,ro", root]);
    const readOnly = createNetworkDriver({ netlink, family: ipv4, sysctlRoot: root });
    const steps = planSysctls(programOf({}), await readOnly.observe(signal));
    t.equal(steps.length, 4);
    t.match(await readOnly.applySysctls(steps, signal), [
      { step: { key: "net.ipv4.ip_forward" }, code: "EROFS" },
    ]);
    t.equal(await run("sysctl", ["-n", "net.ipv4.conf.eth0.forwarding"]), "1\n");
    t.equal(await run("sysctl", ["-n", "net.ipv4.conf.net1.promote_secondaries"]), "1\n");
    t.same(planSysctls(programOf({}), await readOnly.observe(signal)), [], "and nothing is asked for again");
  });

  t.test("policy routing is read correctly", async (t) => {
    await Gateway.make();
    const paths = async () => driver.observePaths(await driver.observe(signal), signal);
    const plain = await paths();
    t.strictSame(
      plain.rules.map(({ text }) => text),
      [
        "priority 0 from all lookup local",
        "priority 32766 from all lookup main",
        "priority 32767 from all lookup default",
      ],
    );
    t.equal(await paths(), plain, "the same is the same value");
    await ip(
      "route add 10.9.0.0/16 via 10.0.1.9 table 100; rule add from 10.0.1.5 iif eth0 lookup 100 priority 50",
    );
    await ip(
      "rule add not to 10.0.0.0/8 fwmark 0x1/0x3 prohibit priority 60; rule add oif net1 goto 32766 priority 70",
    );
    await ip("rule add lookup main suppress_prefixlength 0 priority 80; rule add lookup 101 priority 90");
    await ip("rule add uidrange 1-9 blackhole priority 91; rule add uidrange 0-9 blackhole priority 92");
    const { rules, tables } = await paths();
    t.match(rules, [
      {},
      { text: "priority 50 from 10.0.1.5/32 iif eth0 lookup 100", hasMore: false, inInterface: "eth0" },
      {
        text: "priority 60 not from all to 10.0.0.0/8 fwmark 0x1/0x3 prohibit",
        hasMore: true,
        isInverted: true,
      },
      { text: "priority 70 from all oif net1 goto 32766", action: { kind: "goto", priority: 32766 } },
      {
        text: "priority 80 from all lookup main suppress_prefixlength 0",
        suppressedPrefix: 0,
        hasMore: false,
      },
      { text: "priority 90 from all lookup 101", action: { kind: "lookup", table: 101 } },
      { priority: 91, action: { kind: "none" } },
      { priority: 92, action: { kind: "blackhole" }, hasMore: false },
    ]);
    t.match(
      [...tables],
      [
        [100, [{ destination: "10.9.0.0/16", interface: "eth0", table: 100 }]],
        [101, []],
      ],
    );
    for (const priority of [50, 60, 70, 80, 90, 91, 92]) await ip(`rule del priority ${priority}`);

    await ip("route add blackhole 10.9.0.5/32 table local; route add local 10.9.0.6/32 dev lo proto bird");
    t.match(
      [...(await paths()).tables],
      [
        [
          255,
          [
            { destination: "10.9.0.5/32", type: "blackhole" },
            { destination: "10.9.0.6/32", type: "local" },
          ],
        ],
      ],
      "of the local table what people and other programs add",
    );
    await ip("route append blackhole 203.0.113.2 table local; route prepend blackhole 10.0.1.2 table local");
    t.same(
      (await paths()).tables.get(localTable)?.map(({ destination }) => destination),
      ["10.0.1.2/32", "10.9.0.5/32", "10.9.0.6/32"],
      "not what comes after the kernel's own",
    );
    await ip("route del blackhole 203.0.113.2 table local; route del blackhole 10.0.1.2 table local");
    await ip("route del blackhole 10.9.0.5/32 table local; route del local 10.9.0.6/32 dev lo proto bird");

    await ip("link set net1 mtu 1400; link add mv9 link eth0 type macvlan mode passthru");
    const changed = (await driver.observe(signal)).links;
    const eth0 = changed.find(({ name }) => name === "eth0");
    t.match(
      changed.filter(({ name }) => name === "net1" || name === "mv9").toSorted((a, b) => a.index - b.index),
      [
        { name: "net1", mtu: 1_400 },
        { name: "mv9", takesFrom: eth0?.index },
      ],
    );
    await ip("link set net1 mtu 1500; link del mv9");

    await ip("route add blackhole 10.3.0.0/16; route add throw 10.4.0.0/16");
    await run("ip", "route add 10.5.0.0/16 nexthop via 10.0.1.8 nexthop via 203.0.113.8".split(" "));
    await ip("link add br9 type bridge; link set net1 master br9; link set eth0 arp off");
    const { routes, links } = await driver.observe(signal);
    const typeOf = (destination: string) => routes.find((route) => route.destination === destination)?.type;
    t.same(["10.3.0.0/16", "10.4.0.0/16"].map(typeOf), ["blackhole", "throw"]);
    t.match(
      routes.find(({ destination }) => destination === "10.5.0.0/16"),
      {
        interface: undefined,
        hops: ["eth0", "net1"],
        hopVias: ["10.0.1.8", "203.0.113.8"],
      },
    );
    const indexOf = (name: string) => links.find((link) => link.name === name)?.index;
    t.match(
      links.find(({ name }) => name === "net1"),
      { masterIndex: indexOf("br9"), isNoArp: undefined },
    );
    t.match(
      links.find(({ name }) => name === "eth0"),
      { masterIndex: undefined, isNoArp: true },
    );
    await ip("link del br9");
  });

  t.test("exchanges on one connection do not disturb each other", async (t) => {
    await Gateway.make();
    const one = new AbortController();
    const all = [driver.observe(signal), driver.observe(one.signal), driver.observe(signal)];
    one.abort(new Error("changed my mind"));
    const [first, second, third] = await Promise.allSettled(all);
    t.equal(second?.status, "rejected");
    t.equal(first?.status, "fulfilled");
    t.same(third, first);
  });
}

/** `ip` commands, separated by semicolons. */
async function ip(commands: string): Promise<void> {
  for (const command of commands.split(";")) await run("ip", command.trim().split(" "));
}

async function addresses(name: string): Promise<readonly string[]> {
  const [link] = JSON.parse(await run("ip", ["-j", "-4", "address", "show", "dev", name]));
  return link.addr_info.map(
    (info: { local: string; prefixlen: number }) => `${info.local}/${info.prefixlen}`,
  );
}

async function routes(): Promise<readonly string[]> {
  return lines(await run("ip", ["-4", "route", "show"]));
}

async function defaults(): Promise<readonly string[]> {
  return (await routes()).filter((route) => route.startsWith("default"));
}

/** The EIPs bound by the agent's local routes: `203.0.113.10 dev net1`. */
async function bound(): Promise<readonly string[]> {
  const text = await run("ip", ["-4", "route", "show", "table", "local", "proto", "196"]);
  return lines(text).map((line) => line.replace(/^local (.*) scope host metric 77$/, "$1"));
}

/** Checks repeatedly whether an IP is local; returns how often it was not. */
function watchLocal(address: string) {
  let isOver = false;
  let failures = 0;
  const looking = (async () => {
    while (!isOver) {
      if (!/^local /.test(await run("ip", ["route", "get", address]))) failures++;
    }
  })();
  return {
    stop: async () => {
      isOver = true;
      await looking;
      return failures;
    },
  };
}

function lines(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trim().replaceAll(/ +/g, " "))
    .filter(Boolean);
}

function isRoute(change: string): boolean {
  return change.startsWith("ip route");
}

if (process.env[inside] === undefined) {
  const command = [process.execPath, ...process.execArgv, import.meta.filename];
  await t.spawn("unshare", ["--net", "--mount", "--", ...command], {
    env: { ...process.env, [inside]: "1" },
    name: "in a namespace of its own",
  });
} else {
  tests();
}
