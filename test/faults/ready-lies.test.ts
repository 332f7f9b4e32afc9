/**
 * The fault: an object is reported Ready that is not in the kernel.
 *
 * Seen in the field: a gateway pod was recreated, and nothing was programmed in it yet. A user deleted a FIP. The
 * controller, while it removed the FIP's references from its EIP, set that EIP ready: an address that existed nowhere
 * was reported as working, so nothing repaired it. The same happens wherever Ready is stored, or derived from anything
 * but a reading of the kernel.
 *
 * In this test three hundred objects of each kind are programmed while the next generation removes the FIPs again; the
 * agent is killed and its namespace recreated; FIPs are deleted while nothing can be programmed; several clients create
 * and delete FIPs. All the time the agent's statuses are compared with the kernel.
 */
import t from "tap";
import type { ObjectStatus } from "../support/api-client.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { until } from "../support/run.ts";
import { gateway } from "../support/targets.ts";
import { TruthWatch } from "./truth-watch.ts";

const count = 300;
const writers = 8;
const turns = 3;
const numbers = Array.from({ length: count }, (_, index) => index + 1);

const eipOf = (number: number) => `198.18.${number >> 8}.${number & 255}`;
const addressOf = (name: string) => eipOf(Number(name.slice("eip-".length)));
const fipOf = (number: number) => ({
  name: `fip-${number}`,
  eip: `eip-${number}`,
  internalIp: `10.0.${8 + (number >> 8)}.${number & 255}`,
});
const eips = numbers.map((number) => ({ name: `eip-${number}`, address: `${eipOf(number)}/16` }));
const fips = numbers.map(fipOf);
const fipIds = fips.map(({ name }) => `fips/${name}`);

/** An EIP that no pass can ever make Ready, since its interface does not exist. */
const lost = { name: `eip-${count + 1}`, address: `${eipOf(count + 1)}/16`, interface: "net9" };
const lostFip = fipOf(count + 1);

const withFips = { gateway, eips: [...eips, lost], fips: [...fips, lostFip] };
const withoutFips = { gateway, eips: [...eips, lost] };

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane, {}, { isBreakable: true });
    const watch = new TruthWatch(gw, { count, addressOf });
    watch.start();
    t.teardown(() => watch.stop());
    const readyOf = async (path: string) => readyClaim((await gw.api.get(path)).body.status);
    const whenReady = (ready: number) =>
      until(
        `${ready} Ready objects`,
        async () => {
          const { eips, fips } = (await gw.api.status()).objects;
          return (eips?.ready ?? 0) + (fips?.ready ?? 0) === ready;
        },
        60_000,
      );
    const putWithoutFips = (generation: number, query: string) =>
      watch.removing(fipIds, () => gw.api.putSet({ generation, ...withoutFips }, query));

    await t.test("a generation accepted before the previous one is applied", async (t) => {
      t.equal((await gw.api.putSet({ generation: 1, ...withFips }, "")).status, 202);
      t.equal((await putWithoutFips(2, "")).status, 202);
      await whenReady(count);
      await watch.settle();
      t.equal((await gw.api.putSet({ generation: 3, ...withFips }, "")).status, 202);
    });

    await t.test("killed in between; in the new namespace nothing can be programmed", async (t) => {
      watch.beginLife();
      await gw.agent.kill();
      await gw.lab.renewGateway();
      await gw.faults.break("fails");
      const attempts = await gw.faults.attempts();
      watch.beginLife();
      await gw.startAgent().whenLive();
      await until("the first attempt to fail", async () => (await gw.faults.attempts()) > attempts);
      for (const number of [1, 2, 3, count, count + 1]) {
        const id = `fips/fip-${number}`;
        t.equal((await watch.removing([id], () => gw.api.delete(id, ""))).status, 204);
        t.match(await readyOf(`eips/eip-${number}`), { status: "False" }, "its EIP was never programmed");
      }
      await watch.settle();
      t.equal((await gw.api.status()).objects.eips?.ready, 0);

      // The tool does nothing and reports success: only a reading shows it.
      await gw.faults.break("fallsSilent");
      await gw.api.reconcile();
      await watch.settle();
      t.match((await gw.api.status()).objects, { eips: { ready: 0 }, fips: { ready: 0 } });
      await gw.faults.mend();
      await gw.api.reconcile();
      await whenReady(count + fips.length - 4);
      t.match(await readyOf(`eips/${lost.name}`), { status: "False", reason: "InterfaceNotFound" });
    });

    await t.test("FIPs are created and deleted, and their EIPs stay Ready", async (t) => {
      const isSteady: boolean[] = [];
      const writer = async (first: number) => {
        for (let turn = 0; turn < turns; turn++) {
          const number = first + turn * writers;
          const [fip, eip] = [`fips/fip-${number}`, `eips/eip-${number}`];
          const before = await readyOf(eip);
          await watch.removing([fip], () => gw.api.delete(fip, turn % 2 === 0 ? "" : "?wait=30s"));
          const between = await readyOf(eip);
          await gw.api.put(fip, fipOf(number), turn % 3 === 0 ? "" : "?wait=30s");
          isSteady.push(isSame(before, between), isSame(before, await readyOf(eip)));
        }
      };
      await Promise.all(Array.from({ length: writers }, (_, index) => writer(10 + index)));
      t.same(isSteady, Array<boolean>(2 * writers * turns).fill(true));
      await whenReady(count + fips.length - 4);
    });

    await t.test("killed while FIPs go, in the same namespace", async (t) => {
      t.equal((await putWithoutFips(4, "")).status, 202);
      watch.beginLife();
      await gw.agent.kill();
      watch.beginLife();
      await gw.startAgent().whenReady();
      await whenReady(count);
      t.equal((await gw.api.putSet({ generation: 5, ...withFips })).status, 202, "one EIP is lost for good");
      t.match((await gw.api.status()).objects, { eips: { ready: count }, fips: { ready: count } });
    });

    await t.test("every reported Ready was true", async (t) => {
      await watch.settle();
      const { lies, lives } = await watch.stop();
      t.same(lies, []);
      const lived = lives.filter(({ polls }) => polls > 0);
      for (const { polls, claims } of lived)
        t.comment(`${dataplane}: ${polls} polls, ${claims} claims of Ready`);
      t.equal(lived.length, 3, "every life of the agent was watched");
      t.same(
        lived.map(({ epochs }) => epochs.size),
        [1, 1, 1],
      );
      t.not(one(lived[0]), one(lived[1]), "a new namespace is a new epoch");
      t.equal(one(lived[1]), one(lived[2]), "the same namespace is the same");
      for (const { claims } of lived) t.ok(claims > 0, "claims were judged in it");
      await gw.expectConverged(t);
    });
  });
}

function one(life: { readonly epochs: ReadonlySet<string> } | undefined): string | undefined {
  return life?.epochs.values().next().value;
}

type ReadyClaim = ObjectStatus["conditions"][number];

function readyClaim(status: ObjectStatus): ReadyClaim | undefined {
  return status.conditions.find(({ type }) => type === "Ready");
}

function isSame(one: ReadyClaim | undefined, other: ReadyClaim | undefined): boolean {
  return (
    one !== undefined && one.status === other?.status && one.lastTransitionTime === other.lastTransitionTime
  );
}
