/**
 * What an earlier process with another dataplane left behind. Read until it is gone, and removed when the current
 * dataplane is verified.
 */
import { type PreviousObserved, type PreviousStep, previousPlanner } from "../../../lib/plan/previous.ts";
import type { Step } from "../../../lib/plan/subsystem.ts";
import type { PreviousDataplane } from "../../kernel/drivers.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";

export class PreviousDataplaneSubsystem implements Subsystem<readonly PreviousObserved[], PreviousStep> {
  readonly planner = previousPlanner;
  readonly #open: (signal: AbortSignal) => Promise<readonly PreviousDataplane[]>;
  #dataplanes: readonly PreviousDataplane[] | undefined;
  /** The last reading. No other program adds to it, so it is valid until the agent writes. */
  #known: readonly PreviousObserved[] | undefined;

  /** @param open opens the dataplanes that may have served; called until it succeeds */
  constructor(open: (signal: AbortSignal) => Promise<readonly PreviousDataplane[]>) {
    this.#open = open;
  }

  async observe(signal: AbortSignal): Promise<readonly PreviousObserved[]> {
    this.#dataplanes ??= await this.#open(signal);
    this.#known ??= await Promise.all(
      this.#dataplanes.map(async ({ name, planner, ...driver }) => ({
        name,
        planner,
        observed: await driver.observe(signal),
      })),
    );
    return this.#known;
  }

  forget(): void {
    this.#known = undefined;
  }

  facts(all: readonly PreviousObserved[]) {
    return {
      previousHoldsObjects: all.some(({ planner, observed }) => planner.holdsObjects(observed)),
      isPreviousPresent: all.some(({ planner, observed }) => planner.plan(observed).changes.length > 0),
    };
  }

  async apply(
    steps: readonly Step<PreviousStep>[],
    _context: unknown,
    signal: AbortSignal,
  ): Promise<readonly StepFailure[]> {
    this.#known = undefined;
    for (const { payload } of steps) {
      const dataplane = this.#dataplanes?.find(({ name }) => name === payload.name);
      const outcome = await dataplane?.write(payload.payload, signal);
      if (outcome !== undefined && outcome.kind !== "done") throw outcome.error;
    }
    return [];
  }
}
