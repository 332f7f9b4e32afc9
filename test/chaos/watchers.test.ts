/**
 * Readers of events never miss the last state of an object: objects change all the time, the agent and the readers are
 * killed in between, and in the end each reader believes exactly what the lists say.
 *
 * `NATGW_CHANGES`, `NATGW_READERS` and `NATGW_KILLS` set the size, `NATGW_SEED` repeats the choices of a run.
 */
import t from "tap";
import { Agent } from "undici";
import { collections } from "../../lib/model/names.ts";
import type { ObjectReply } from "../support/api-client.ts";
import { Gateway } from "../support/gateway.ts";
import { describe, ObjectWatcher } from "../support/object-watcher.ts";
import { randomFrom, seed } from "../support/random.ts";
import { until } from "../support/run.ts";
import { gateway } from "../support/targets.ts";

const changes = Number(process.env.NATGW_CHANGES ?? 3_000);
const readers = Number(process.env.NATGW_READERS ?? 5);
const kills = Number(process.env.NATGW_KILLS ?? 1);
const names = Math.min(1_000, Math.max(50, changes / 50));
const changesPerBatch = 50;
/** Batches between two kills of a reader. */
const readerKillEvery = 5;
const random = randomFrom(seed);
t.comment(`seed ${seed}`);

/** A deleted one is never used again: 410. */
let uids = 0;
const below = (count: number) => Math.floor(random() * count);
const addressOf = (index: number) => `198.18.${index >> 8}.${index & 255}/15`;
const internalOf = (index: number) => `10.${100 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
const named = <T>(kind: string, make: (index: number) => T) =>
  Array.from({ length: names }, (_, index) => ({ name: `${kind}-${index}`, ...make(index) }));

const base = {
  generation: 1,
  gateway,
  eips: named("eip", (index) => ({ address: addressOf(index) })),
  fips: named("fip", (index) => ({ eip: `eip-${index}`, internalIp: internalOf(index) })),
};

/** Objects of all kinds that are written or deleted together; among them references to Eips that are gone. */
function randomBatch() {
  const upsert: Record<string, object[]> = { eips: [], fips: [], dnats: [], snats: [] };
  const gone: Record<string, string[]> = { fips: [], dnats: [], snats: [] };
  const chosen = new Set<number>();
  while (chosen.size < Math.min(changesPerBatch, names)) chosen.add(below(names));
  for (const index of chosen) {
    const eip = `eip-${index}`;
    const choice = random();
    if (choice < 0.1) upsert.eips?.push({ name: eip, address: addressOf(index), uid: `uid-${++uids}` });
    else if (choice < 0.4)
      upsert.fips?.push({ name: `fip-${index}`, eip, internalIp: internalOf(below(65_000)) });
    else if (choice < 0.55) gone.fips?.push(`fip-${index}`);
    else if (choice < 0.75) {
      const [externalPort, internalPort] = [1_000 + below(60_000), 80];
      const to = { internalIp: internalOf(below(65_000)), internalPort };
      upsert.dnats?.push({
        name: `dnat-${index}`,
        eip: `eip-${below(names + 20)}`,
        protocol: "tcp",
        externalPort,
        ...to,
      });
    } else if (choice < 0.85) gone.dnats?.push(`dnat-${index}`);
    else if (choice < 0.95)
      upsert.snats?.push({ name: `snat-${index}`, eip, internalCIDR: `${internalOf(index)}/32` });
    else gone.snats?.push(`snat-${index}`);
  }
  return { upsert, delete: gone };
}

t.test("list, then watch, misses no object's last state", async (t) => {
  const gw = await Gateway.make(t, "nftables", { NATGW_EIP_BINDING: "route" }, { isSilent: true });
  await gw.startAgent().whenReady();
  t.equal((await gw.api.putSet(base, "")).status, 202);
  const { socketPath } = gw.agentOptions;
  const agent = new Agent({ connect: { socketPath }, connections: 32 });
  const watchers = Array.from(
    { length: readers },
    (_, index) => new ObjectWatcher(socketPath, agent, index % 4 === 3 ? "fip" : undefined),
  );
  t.teardown(async () => {
    await Promise.all(watchers.map((watcher) => watcher.stop()));
    await agent.destroy();
  });

  let [written, refused, agentKills, readerKills] = [0, 0, 0, 0];
  for (let batch = 0; written < changes; batch++) {
    const { status } = await gw.api.call("POST", "/v1/batch", randomBatch());
    // A DNAT's port may be taken: nothing of the batch was stored.
    if (status === 409) refused += 1;
    else if (status !== 202 && status !== 200) t.fail(`a batch was answered with ${status}`);
    else written += changesPerBatch;
    if (batch % readerKillEvery === 0) {
      watchers[below(readers)]?.kill(random() < 0.2);
      readerKills += 1;
    }
    if (written >= ((agentKills + 1) * changes) / (kills + 1) && agentKills < kills) {
      agentKills += 1;
      await gw.agent.kill();
      await gw.startAgent().whenLive();
    }
  }

  const truth = await settled(gw);
  t.ok(truth.size > names, `${truth.size} objects`);
  for (const [index, watcher] of watchers.entries()) {
    const isWanted = (key: string) => index % 4 !== 3 || key.startsWith("Fip/");
    const wanted = new Map([...truth].filter(([key]) => isWanted(key)));
    const isEqual = () => differences(watcher.believed, wanted).length === 0;
    await until("a reader to know everything", isEqual, 30_000).catch(() => undefined);
    t.same(differences(watcher.believed, wanted).slice(0, 3), [], `reader ${index}`);
  }
  const sum = (what: (watcher: ObjectWatcher) => number) => watchers.reduce((all, one) => all + what(one), 0);
  t.ok(sum(({ lists }) => lists) >= readers * (1 + kills), "each lists again after each kill of the agent");
  t.ok(sum(({ resyncs }) => resyncs) > 0);
  t.comment(
    `${written} changes (${refused} batches refused), ${agentKills} kills of the agent, ${readerKills} of readers; ` +
      `${readers} readers: ${sum(({ events }) => events)} events, ${sum(({ connects }) => connects)} connections, ` +
      `${sum(({ lists }) => lists)} lists, ${sum(({ resyncs }) => resyncs)} resyncs`,
  );
});

/** All objects, once the last pass has seen them all. */
async function settled(gw: Gateway): Promise<ReadonlyMap<string, string>> {
  await until(
    "the last pass",
    async () => {
      const { revision } = (
        await gw.api.call<{ revision: { desired: number; applied: number } }>("GET", "/v1/status")
      ).body;
      return revision.desired === revision.applied;
    },
    60_000,
  );
  await gw.api.reconcile();
  const all = new Map<string, string>();
  for (const collection of collections) {
    const { body } = await gw.api.call<{ items: readonly ObjectReply[] }>("GET", `/v1/${collection}`);
    for (const item of body.items) all.set(`${item.kind}/${item.name}`, describe(item));
  }
  return all;
}

function differences(
  believed: ReadonlyMap<string, string>,
  truth: ReadonlyMap<string, string>,
): readonly string[] {
  const keys = new Set([...believed.keys(), ...truth.keys()]);
  return [...keys]
    .filter((key) => believed.get(key) !== truth.get(key))
    .map((key) => `${key}: believed ${believed.get(key)}, is ${truth.get(key)}`);
}
