/** A rule with several backends: for each new flow the kernel draws one of them. */
import type { ExplainStep, Explanation } from "./explanation.ts";
import type { Endpoint } from "./packet.ts";

/** What becomes of the packet if this backend is drawn. */
export interface Draw {
  readonly backend: Endpoint;
  readonly explanation: Explanation;
}

/** Where only some of the backends can be reached, it depends on the draw whether the packet arrives. */
export function explainDraws(draws: readonly [Draw, ...Draw[]], backends: number): Explanation {
  const explanations = draws.map(({ explanation }) => explanation);
  const shown = explanations.find(({ verdict }) => verdict === "delivered") ?? draws[0].explanation;
  const others = draws.filter(({ explanation }) => explanation.verdict !== shown.verdict);
  const unchecked = new Set(explanations.flatMap((one) => one.unchecked));
  if (draws.length < backends) unchecked.add(`${backends - draws.length} of the ${backends} backends`);
  const [other] = others;
  if (other === undefined) return { ...shown, unchecked: [...unchecked] };
  const { code, steps } = other.explanation;
  const cause =
    steps.find(({ result }) => result === "stops") ?? steps.find(({ result }) => result === "unknown");
  const which = `with ${others.length} of the ${draws.length} backends, such as ${other.backend.address}`;
  return {
    ...shown,
    verdict: "unknown",
    code,
    steps: cause === undefined ? shown.steps : withStep(shown.steps, cause, `${which}: ${cause.detail}`),
    unchecked: [...unchecked],
  };
}

/** In place of what was said of the stage. */
function withStep(steps: readonly ExplainStep[], cause: ExplainStep, detail: string): readonly ExplainStep[] {
  return steps.map((step) => (step.stage === cause.stage ? { ...cause, result: "unknown", detail } : step));
}
