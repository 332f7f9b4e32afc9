import t from "tap";
import { needsOfGate } from "../../../../../lib/plan/gate/needs.ts";
import type { PlanContext } from "../../../../../lib/plan/plan-input.ts";
import { unknownFacts } from "../../../../../lib/plan/plan-input.ts";

t.test(
  "steps wait for a gate that is to be closed and is not, and not for the guard behind a closed one",
  async (t) => {
    const needs = (gate: "open" | "closed", isGateClosed: boolean) =>
      needsOfGate({
        context: { gate } as PlanContext,
        facts: { ...unknownFacts, network: undefined as never, isGateClosed },
      });
    t.strictSame(needs("closed", false), ["gate"]);
    t.strictSame(needs("closed", true), []);
    t.strictSame(needs("open", false), []);
    t.strictSame(needs("open", true), []);
  },
);
