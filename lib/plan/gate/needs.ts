/** What must not be written before the gate is closed. */
import type { PlanInput } from "../plan-input.ts";
import type { StepNeed } from "../subsystem.ts";

/**
 * For steps that wait until the gate is closed, if it is to be. Once the kernel has it, they do not wait for changes of the
 * guard: an element that the kernel refuses must not keep back the rules of all objects.
 */
export function needsOfGate({ context, facts }: Pick<PlanInput, "context" | "facts">): readonly StepNeed[] {
  return context.gate === "closed" && !facts.isGateClosed ? ["gate"] : [];
}
