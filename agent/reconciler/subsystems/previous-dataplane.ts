/** What an earlier life with another dataplane left behind: read until it is gone, and taken out once this one is verified. */
import { type PreviousObserved, type PreviousStep, previousPlanner } from "../../../lib/plan/previous.ts";
import type { Step } from "../../../lib/plan/subsystem.ts";
import type { PreviousDataplane } from "../../kernel/drivers.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";

export class PreviousDataplaneSubsystem implements Subsystem<readonly PreviousObserved[], PreviousStep> {
  readonly planner = previousPlanner;
  readonly #open: (signal: AbortSignal) => Promise<readonly PreviousDataplane[]>;
  #dataplanes: readonly PreviousDataplane[] | undefined;
  /** As last read: nobody else adds to it, so one reading stands until the agent writes. */
  #known: readonly PreviousObserved[] | undefined;

  /** @param open those that may have served; asked until it answers */
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
