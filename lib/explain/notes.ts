/** What an explanation says beside its verdict. */
import { type ExplainStep, stages } from "./explanation.ts";

const order = new Map(stages.map((stage, at) => [stage, at]));

export class Notes {
  readonly #steps: ExplainStep[] = [];
  readonly #unchecked = new Set<string>();

  step(step: ExplainStep): void {
    this.#steps.push(step);
  }

  /** In place of what was said of this stage. */
  replace(step: ExplainStep): void {
    const at = this.#steps.findIndex(({ stage }) => stage === step.stage);
    if (at < 0) this.#steps.push(step);
    else this.#steps[at] = step;
  }

  /** @param what of the question is not answered */
  uncheck(what: string): void {
    this.#unchecked.add(what);
  }

  /** In the order of the stages. */
  get steps(): readonly ExplainStep[] {
    const orderOf = ({ stage }: ExplainStep) => order.get(stage) ?? 0;
    return this.#steps.toSorted((one, other) => orderOf(one) - orderOf(other));
  }

  get unchecked(): readonly string[] {
    return [...this.#unchecked];
  }
}
