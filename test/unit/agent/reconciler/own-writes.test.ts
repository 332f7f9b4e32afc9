import t from "tap";
import { areWritesOwn } from "../../../../agent/reconciler/own-writes.ts";
import { Patience } from "../../../../agent/reconciler/patience.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { Plan } from "../../../../lib/plan/plan.ts";

const planAfter = (changes: Plan["changes"]) => ({ planAfter: { changes } as Plan });
const settled = planAfter([]);
const unsettled = planAfter([{ action: "add", subsystem: "rule", text: "-A X" }]);
const patience = new Patience();
const proves = (answer: boolean) => ({ isCurrent: async () => answer });
const throws = (error: Error) => ({ isCurrent: () => Promise.reject(error) });

t.test("writes are the agent's own only if every subsystem proves it", async (t) => {
  const areOwn = (subsystems: readonly { isCurrent?: () => Promise<boolean> }[], last = settled) =>
    areWritesOwn({ subsystems, patience }, last);
  t.ok(await areOwn([proves(true), {}]));
  t.notOk(await areOwn([proves(true), proves(false)]));
  t.notOk(await areOwn([throws(new GatewayError("command-failed", "no answer"))]));
  await t.rejects(areOwn([throws(new Error("a bug"))]), { message: "a bug" });
  t.notOk(await areOwn([proves(true)], unsettled), "the last pass saw a write of another program");
  t.notOk(await areWritesOwn({ subsystems: [proves(true)], patience }, undefined), "no pass yet");
});

t.test("a proof that takes too long is none", async (t) => {
  const impatient = { wait: async <T>(_: Promise<T>, _ms: number, giveUp: () => T | Promise<T>) => giveUp() };
  t.notOk(await areWritesOwn({ subsystems: [proves(true)], patience: impatient }, settled));
});
