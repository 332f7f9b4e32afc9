import t from "tap";
import {
  areWritesOwn,
  hasWrittenNetwork,
  isNetworkAsRead,
  type OwnNetworkDeps,
} from "../../../../agent/reconciler/own-writes.ts";
import type { PassResult } from "../../../../agent/reconciler/pass/pass-result.ts";
import { TimeLimits } from "../../../../agent/reconciler/time-limits.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { Plan } from "../../../../lib/plan/plan.ts";

const planAfter = (changes: Plan["changes"]) => ({ planAfter: { changes } as Plan });
const settled = planAfter([]);
const unsettled = planAfter([{ action: "add", subsystem: "rule", text: "-A X" }]);
const timeLimits = new TimeLimits();
const proves = (answer: boolean) => ({ isCurrent: async () => answer });
const throws = (error: Error) => ({ isCurrent: () => Promise.reject(error) });

t.test("writes are the agent's own only if every subsystem proves it", async (t) => {
  const areOwn = (subsystems: readonly { isCurrent?: () => Promise<boolean> }[], last = settled) =>
    areWritesOwn({ subsystems, timeLimits }, last);
  t.ok(await areOwn([proves(true), {}]));
  t.notOk(await areOwn([proves(true), proves(false)]));
  t.notOk(await areOwn([throws(new GatewayError("command-failed", "no answer"))]));
  await t.rejects(areOwn([throws(new Error("a bug"))]), { message: "a bug" });
  t.notOk(await areOwn([proves(true)], unsettled), "the last pass saw a write of another program");
  t.notOk(await areWritesOwn({ subsystems: [proves(true)], timeLimits }, undefined), "no pass yet");
});

t.test("a proof that takes too long is none", async (t) => {
  const expired = { wait: async <T>(_: Promise<T>, _ms: number, giveUp: () => T | Promise<T>) => giveUp() };
  t.notOk(await areWritesOwn({ subsystems: [proves(true)], timeLimits: expired }, settled));
});

t.test("the network is what the last pass read back, by identity", async (t) => {
  const network = { links: [], addresses: [], routes: [], sysctls: new Map() };
  const paths = { rules: [], tables: new Map() };
  const driver = (now: object = network, ways: object = paths) =>
    ({ observe: async () => now, observePaths: async () => ways }) as unknown as OwnNetworkDeps["network"];
  const result = (more: object = {}, snapshot: object = {}): PassResult =>
    ({
      planAfter: { changes: [] },
      failures: [],
      snapshot: {
        facts: { network },
        observed: new Map([["reach", { network, paths, silentHops: [] }]]),
        unread: new Map(),
        ...snapshot,
      },
      ...more,
    }) as unknown as PassResult;
  const isRead = (of: OwnNetworkDeps["network"], last: PassResult | undefined = result()) =>
    isNetworkAsRead({ network: of, timeLimits }, last, 5);
  t.ok(await isRead(driver()));
  t.notOk(await isRead(driver({ ...network })), "addresses, links, routes or sysctls");
  t.notOk(await isRead(driver(network, { ...paths })), "policy routing");
  t.notOk(await isNetworkAsRead({ network: driver(), timeLimits }, undefined, 5), "no pass yet");
  const change = { action: "add", subsystem: "address", text: "x" };
  t.notOk(await isRead(driver(), result({ planAfter: { changes: [change] } })), "something is left to do");
  t.notOk(await isRead(driver(), result({ failures: [{}] })));
  t.notOk(await isRead(driver(), result({}, { unread: new Map([["rule", {}]]) })));
  t.notOk(await isRead(driver(), result({}, { observed: new Map() })), "the paths were not read");
  const failing = (error: Error) =>
    ({ ...driver(), observe: () => Promise.reject(error) }) as unknown as OwnNetworkDeps["network"];
  t.notOk(await isRead(failing(new GatewayError("netlink-failed", "cut short"))));
  await t.rejects(isRead(failing(new Error("a bug"))), { message: "a bug" });
  const expired = { wait: async <T>(_: Promise<T>, _ms: number, giveUp: () => T | Promise<T>) => giveUp() };
  t.notOk(await isNetworkAsRead({ network: driver(), timeLimits: expired }, result(), 5));

  const unread = failing(new Error("it was read"));
  t.notOk(
    await isNetworkAsRead({ network: unread, timeLimits }, result(), 1_001),
    "too late for an own write",
  );
  const wrote = (subsystem: string) =>
    hasWrittenNetwork({ changes: [{ action: "add", subsystem, text: "x" }] } as unknown as PassResult);
  t.strictSame(["address", "route", "rule"].map(wrote), [true, true, false]);
});
