/**
 * The agent's own chains and tables of dataplanes that are not in use: an earlier process left them behind, or another program
 * made them. Removed when the current dataplane is verified.
 */
import { type PreviousObserved, type PreviousStep, previousPlanner } from "../../../lib/plan/previous.ts";
import type { Step } from "../../../lib/plan/subsystem.ts";
import type { PreviousDataplane } from "../../kernel/drivers.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";

export interface PreviousDataplaneDeps {
  /** Opens the dataplanes that may have served. Called until it succeeds. */
  readonly open: (signal: AbortSignal) => Promise<readonly PreviousDataplane[]>;
  /** What there is of them, as text that differs if it may differ. Costs little if nothing changed. */
  readonly leftovers: (signal: AbortSignal) => Promise<readonly string[]>;
}

export class PreviousDataplaneSubsystem implements Subsystem<readonly PreviousObserved[], PreviousStep> {
  readonly planner = previousPlanner;
  readonly #deps: PreviousDataplaneDeps;
  #dataplanes: readonly PreviousDataplane[] | undefined;
  /** The last reading. Valid until the agent writes, or the leftovers change. */
  #known: readonly PreviousObserved[] | undefined;
  /** The leftovers before the last reading. Empty: none, or unknown. */
  #leftovers = "";

  constructor(deps: PreviousDataplaneDeps) {
    this.#deps = deps;
  }

  async observe(signal: AbortSignal): Promise<readonly PreviousObserved[]> {
    // It may be forgotten meanwhile: a dry run reads during a pass.
    const known = this.#known;
    // At a start nothing waits for the leftovers. If there are any, the next reading is anew.
    const leftovers = known === undefined ? "" : await this.#readLeftovers(signal);
    if (known !== undefined && (leftovers === "" || leftovers === this.#leftovers)) {
      this.#leftovers = leftovers;
      return known;
    }
    const read = await this.#read(signal);
    this.#leftovers = leftovers;
    this.#known = read;
    return read;
  }

  /** If they cannot be read, another subsystem says so. */
  #readLeftovers(signal: AbortSignal): Promise<string> {
    return this.#deps.leftovers(signal).then(
      (all) => all.join(),
      () => this.#leftovers,
    );
  }

  async #read(signal: AbortSignal): Promise<readonly PreviousObserved[]> {
    this.#dataplanes ??= await this.#deps.open(signal);
    return Promise.all(
      this.#dataplanes.map(async ({ name, planner, ...driver }) => ({
        name,
        planner,
        observed: await driver.observe(signal),
      })),
    );
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
