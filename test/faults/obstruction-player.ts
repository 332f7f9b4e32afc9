/**
 * Plays obstructions: changes that a person, a script or another program makes to a gateway. For each of them the agent
 * either repairs it, or reports what does not work: not Ready or degraded, with the cause. Objects that still work stay
 * Ready. After the change is undone, everything works again.
 *
 * Packets check each of them: through a FIP in both directions, an SNAT and a DNAT. If a kernel event reports the
 * change, the test does not request a pass, and the agent's timer is too slow to help.
 */
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { type DataplaneName, dataplanes, Gateway } from "../support/gateway.ts";
import type { Target } from "../support/host-program.ts";
import { runIn } from "../support/in-namespace.ts";
import type { HostName } from "../support/lab.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, tcp, webDnat } from "../support/targets.ts";
import { type Command, type FlowName, flowNames, type Obstruction } from "./obstruction.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11)],
  fips: [{ name: "pod1", eip: "eip-10", internalIp: "10.0.1.5" }],
  snats: [{ name: "all", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
  dnats: [webDnat],
};
const generousMs = 30_000;

/**
 * A pass can read the kernel between two commands of an obstruction, and what it finds can look like the end. The next
 * pass follows within this time.
 */
const passMs = 500;

/** One gateway for each dataplane, which plays one obstruction after the other. */
export function playAll(obstructionsOf: (dataplane: DataplaneName) => readonly Obstruction[]): void {
  t.jobs = dataplanes.length;
  for (const dataplane of dataplanes) {
    t.test(dataplane, { buffered: true }, async (t) => {
      const gw = await Gateway.start(t, dataplane, { NATGW_RESYNC_INTERVAL: "10m" });
      t.equal((await gw.api.putSet(set)).status, 200);
      t.same(troubleIn(await doctorOf(gw), "failed"), [], "nothing fails in a healthy gateway");
      for (const row of obstructionsOf(dataplane)) {
        await t.test(row.what, (t) => play(t, gw, row));
      }
      // The next sweep ends flows that a rule of another program translated.
      await gw.api.reconcile();
      t.same(troubleIn(await doctorOf(gw), "failed"), [], "nothing fails any more");
      await gw.expectConverged(t);
    });
  }
}

async function play(t: Test, gw: Gateway, row: Obstruction): Promise<void> {
  const { dead = [], notReady = [], degraded = [], cause } = row;
  const repairs = await repairsOf(gw);
  try {
    await strike(gw, row.commands);
    const isSeen = async () => {
      const isDone = !isRepaired(row) || (await repairsOf(gw)) > repairs;
      return isDone && (await isAsSaid(gw, row));
    };
    await lookedAt(gw, row, async () => {
      if (!(await isSeen())) return false;
      await sleep(passMs);
      return (await isSeen()) && isSettled(gw);
    });
    const found = await statusOf(gw);
    t.same(found.notReady, notReady, "what is not Ready");
    t.same(found.reasons, degraded, "why the gateway is degraded");
    if (cause !== undefined) {
      t.match(found.words, cause, "the cause is named");
      const checks = await doctorOf(gw);
      const named = checks.find(
        ({ result, detail }) => (result === "failed" || result === "uncertain") && cause.test(detail),
      );
      t.match(named?.remedy, /\w/, `the doctor names it, and what helps: ${JSON.stringify(checks)}`);
    }
    const flows = await Promise.all(
      flowNames.map(async (name) => [name, await isAlive(gw, name, !dead.includes(name))] as const),
    );
    t.same(
      flows.filter(([, alive]) => !alive).map(([name]) => name),
      dead,
      "what is dead",
    );
  } finally {
    await strike(gw, row.undo);
  }
  await lookedAt(gw, row, async () => {
    return (await isAsSaid(gw, {})) && isSettled(gw);
  });
  for (const name of dead) {
    // A host that got no ARP answer meanwhile gives up its next packets, too, until it asks again.
    const isAgain = await until(`${name} to be alive`, () => isAlive(gw, name, true), generousMs);
    t.ok(isAgain, `${name} is alive again`);
  }
}

/** True if nobody but the agent undoes the change. */
function isRepaired({ undo }: Obstruction): boolean {
  return undo.length === 0;
}

/** How many changes by others the agent has undone. */
async function repairsOf(gw: Gateway): Promise<number> {
  const body = await gw.api.metrics();
  const counts = body.matchAll(/^natgw_drift_repaired_total\{.*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

/**
 * Waits until `isSo`. Requests a pass if no kernel event reports the change, or if nothing is to be seen of it: it would be
 * so already before the agent looked. A repair is counted.
 */
async function lookedAt(gw: Gateway, row: Obstruction, isSo: () => Promise<boolean>): Promise<void> {
  const { what, hasEvent, notReady = [], degraded = [] } = row;
  const isHarmless = notReady.length + degraded.length === 0;
  const ask = async () => {
    if (!hasEvent || (isHarmless && !isRepaired(row))) await gw.api.call("POST", "/v1/reconcile");
    return isSo();
  };
  try {
    await until(`the agent to see: ${what}`, ask, generousMs);
  } catch (error) {
    const said = [await statusOf(gw), (await gw.api.plan()).changes, await gw.api.status()];
    throw new Error(`it says ${said.map((one) => JSON.stringify(one)).join("; ")}`, { cause: error });
  }
}

/** The agent has nothing left to repair. */
async function isSettled(gw: Gateway): Promise<boolean> {
  return (await gw.api.plan()).changes.length === 0;
}

/** The agent repaired what it can repair, and reports the rest. */
async function isAsSaid(
  gw: Gateway,
  { notReady = [], degraded = [] }: Pick<Obstruction, "notReady" | "degraded">,
): Promise<boolean> {
  const found = await statusOf(gw);
  return found.notReady.join() === notReady.join() && found.reasons.join() === degraded.join();
}

interface CheckReply {
  readonly check: string;
  readonly result: string;
  readonly detail: string;
  readonly remedy: string;
}

async function doctorOf(gw: Gateway): Promise<readonly CheckReply[]> {
  const { body } = await gw.api.call<{ readonly checks: readonly CheckReply[] }>("GET", "/v1/doctor");
  return body.checks;
}

function troubleIn(checks: readonly CheckReply[], result: string): readonly CheckReply[] {
  return checks.filter((check) => check.result === result);
}

interface ListReply {
  readonly items: readonly {
    readonly kind: string;
    readonly name: string;
    readonly status: {
      readonly ready: boolean;
      readonly conditions: readonly {
        readonly type: string;
        readonly reason: string;
        readonly message: string;
      }[];
    };
  }[];
}

/**
 * The objects that are not Ready, the reasons for `degraded`, and the messages of both. This is asked often, so only the lists of
 * kinds that have such objects are read.
 */
async function statusOf(gw: Gateway) {
  const { objects: kinds, degraded } = await gw.api.status();
  const troubled = Object.entries(kinds).filter(([, { notReady }]) => notReady > 0);
  const lists = await Promise.all(
    troubled.map(async ([kind]) => {
      const { body } = await gw.api.call<ListReply>("GET", `/v1/${kind}?ready=false`);
      return body.items.map((item) => ({
        id: `${kind}/${item.name}`,
        ...item.status.conditions.find(({ type }) => type === "Ready"),
      }));
    }),
  );
  const objects = lists.flat();
  return {
    notReady: objects.map(({ id }) => id),
    reasons: reasonsOf(degraded),
    words: [
      ...objects.map(({ id, reason, message }) => `${id} ${reason}: ${message}`),
      ...degraded.map(({ reason, message }) => `${reason}: ${message}`),
    ].join("\n"),
  };
}

function reasonsOf(degraded: readonly { readonly reason: string }[]): readonly string[] {
  return [...new Set(degraded.map(({ reason }) => reason))].sort();
}

/** For each flow: the target, the host that must answer, and the source address that this host must see. */
const flows: { readonly [N in FlowName]: Flow } = {
  "fip in": {
    from: "outside",
    target: tcp("203.0.113.10"),
    answer: { answeredBy: "pod1", seenAs: "203.0.113.1" },
  },
  "fip out": { from: "pod1", target: outsideTcp, answer: { answeredBy: "outside", seenAs: "203.0.113.10" } },
  snat: { from: "pod2", target: outsideTcp, answer: { answeredBy: "outside", seenAs: "203.0.113.11" } },
  dnat: {
    from: "outside",
    target: tcp("203.0.113.11", 8080),
    answer: { answeredBy: "pod2", seenAs: "203.0.113.1" },
  },
};

interface Flow {
  readonly from: HostName;
  readonly target: Target;
  readonly answer: { readonly answeredBy: string; readonly seenAs: string };
}

/** Long enough for an answer. No answer is expected. */
const silenceMs = 500;

async function isAlive(gw: Gateway, name: FlowName, isExpected: boolean): Promise<boolean> {
  const { from, target, answer } = flows[name];
  const host = gw.host(from);
  const given = await (isExpected ? host.ask(target) : host.ask(target, silenceMs));
  return "answeredBy" in given && given.answeredBy === answer.answeredBy && given.seenAs === answer.seenAs;
}

async function strike(gw: Gateway, commands: readonly Command[]): Promise<void> {
  for (const command of commands) {
    const { at, line } = typeof command === "string" ? { at: "gw" as const, line: command } : command;
    const namespace = at === "wire" ? gw.lab.wire : gw.lab.namespaceOf(at);
    await runIn(namespace, ["sh", "-ec", line], { env: { GW: gw.lab.namespaceOf("gw") } });
  }
}
