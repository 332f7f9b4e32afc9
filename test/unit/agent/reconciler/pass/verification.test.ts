import t from "tap";
import { isSameVerification, verificationOf } from "../../../../../agent/reconciler/pass/verification.ts";
import type { Change } from "../../../../../lib/model/change.ts";
import type { Plan } from "../../../../../lib/plan/plan.ts";
import {
  type Obstacle,
  type Obstacles,
  obstaclesOf,
  subsystemPlan,
} from "../../../../../lib/plan/subsystem.ts";

const missing = obstaclesOf("Programmed", "Pending", new Map([["fips/f", "no rule"]]));
const flows = obstaclesOf("Ready", "FlowsRemain", new Map([["fips/g", "1 flow"]]));
const planAfter = {
  parts: new Map([
    ["rule", subsystemPlan([], () => missing)],
    ["flow", subsystemPlan([], () => flows)],
  ]),
} as unknown as Plan;
const change: Change = { action: "add", subsystem: "rule", text: "-A X", object: "fips/f" };

t.test("the obstacles of all subsystems, in their order", async (t) => {
  t.strictSame(verificationOf(planAfter, [], []), [missing, flows]);
});

t.test("the kernel's error text replaces the agent's message for a missing rule", async (t) => {
  const failure = { stage: "rule", object: "fips/f", code: "rules-refused", message: "EINVAL" } as const;
  const other = { ...failure, object: "fips/g" } as const;
  const [rules, live] = verificationOf(planAfter, [failure, other], []);
  t.match(rules?.objects.get("fips/f"), { message: "EINVAL", isSettled: true }, "nobody has to wait for it");
  t.strictSame(live, flows, "what is there is not missing");
  const throttled = { change, repairs: 7, pauseMs: 500 };
  const [undone] = verificationOf(planAfter, [], [throttled]);
  t.strictSame(undone?.objects.get("fips/f"), {
    ...missing.objects.get("fips/f"),
    message: "another program undid it 7 times: -A X",
  });
});

t.test("verifications with equal content are the same", async (t) => {
  const again = obstaclesOf("Programmed", "Pending", new Map([["fips/f", "no rule"]]));
  t.ok(isSameVerification([missing, flows], [again, flows]));
  const held: Obstacle = { condition: "Ready", reason: "Pending", message: "" };
  const others: readonly Obstacles[] = [
    obstaclesOf("Programmed", "Pending", new Map([["fips/f", "no element"]])),
    obstaclesOf("Programmed", "NoBackends", new Map([["fips/f", "no rule"]])),
    obstaclesOf("Ready", "Pending", new Map([["fips/f", "no rule"]])),
    obstaclesOf("Programmed", "Pending", new Map([["fips/h", "no rule"]])),
    { objects: missing.objects, kinds: new Map([["fip", held]]) },
  ];
  for (const other of others) t.notOk(isSameVerification([missing, flows], [other, flows]));
  t.notOk(isSameVerification([missing], [missing, flows]));
});
