/**
 * Tells drift, which others made, from what was asked for, and holds back repairs that are being fought over.
 *
 * A pass that asks for something under the version of the pass before it finds what that one had done undone, unless
 * that one had not come round to it: what was refused then, or showed only afterwards, is unfinished and no drift.
 */

import type { Change } from "../../../lib/model/change.ts";
import { describeAddressStep } from "../../../lib/plan/network/addresses.ts";
import { describeRouteStep } from "../../../lib/plan/network/routes.ts";
import { describeSysctlStep } from "../../../lib/plan/network/sysctls.ts";
import type { Refusal } from "../pass/failures.ts";
import type { Outlook } from "../pass/outlook.ts";
import { type ChangeKey, keyOf, RepairThrottle, type ThrottledRepair } from "./repair-throttle.ts";

export interface DriftReview {
  /** What is to be done now: all that was planned but what has to wait. */
  readonly due: Outlook;
  readonly held: ReadonlySet<ChangeKey>;
  /** What of `due` repairs what others undid. */
  readonly repairs: readonly Change[];
}

const nothingHeld: ReadonlySet<ChangeKey> = new Set();

export class Drift {
  readonly #fights = new RepairThrottle();
  /** What the last pass that came to its end was made from. */
  #version = "";
  /** What it left to do that was not drift. */
  #unfinished: ReadonlySet<ChangeKey> = new Set();

  /** @param version names all that decides what is asked for */
  review(version: string, planned: Outlook, nowMs: number): DriftReview {
    // A write changes what is asked for: then everything is done at once, whoever fights over it.
    if (version !== this.#version) return { due: planned, held: nothingHeld, repairs: [] };
    const held = this.#fights.held(planned.changes, nowMs);
    const due = withhold(planned, held);
    return { due, held, repairs: due.changes.filter((change) => !this.#unfinished.has(keyOf(change))) };
  }

  /** After the pass: what it did of the review, and what it left to do. */
  conclude(
    version: string,
    planned: Outlook,
    { repairs }: DriftReview,
    { residual, refusals }: { readonly residual: Outlook; readonly refusals: readonly Refusal[] },
    nowMs: number,
  ): void {
    const refused = new Set(refusals.map(({ text }) => text));
    const wasDone = ({ text }: Change) => !refused.has(text);
    this.#fights.record(repairs.filter(wasDone), nowMs);
    this.#version = version;
    // After most passes nothing is left, and of 10,000 changes no key need be made.
    const attempted = new Set(
      residual.changes.length === 0 ? [] : planned.changes.filter(wasDone).map(keyOf),
    );
    this.#unfinished = new Set(residual.changes.map(keyOf).filter((key) => !attempted.has(key)));
  }

  /** What was asked for between two versions was done elsewhere: nothing that is missing from now on is new. */
  follow(before: string, after: string): void {
    if (this.#version === before) this.#version = after;
  }

  fights(nowMs: number): readonly ThrottledRepair[] {
    return this.#fights.current(nowMs);
  }

  dueInMs(held: ReadonlySet<ChangeKey>, nowMs: number): number | undefined {
    return this.#fights.dueInMs(held, nowMs);
  }
}

/** Rules are written a transaction at a time: what is held goes along where another rule is due, and costs nothing more. */
function withhold(outlook: Outlook, held: ReadonlySet<ChangeKey>): Outlook {
  if (held.size === 0) return outlook;
  const isDue = (change: Change) => !held.has(keyOf(change));
  const { addresses, routes } = outlook;
  const rules = outlook.rules.changes.some(isDue) ? outlook.rules : { ...outlook.rules, changes: [] };
  const written = new Set(rules.changes);
  return {
    ...outlook,
    rules,
    sysctls: outlook.sysctls.filter((step) => isDue(describeSysctlStep(step))),
    addresses: {
      ...addresses,
      add: addresses.add.filter((step) => isDue(describeAddressStep(step))),
      remove: addresses.remove.filter((step) => isDue(describeAddressStep(step))),
    },
    routes: { ...routes, steps: routes.steps.filter((step) => isDue(describeRouteStep(step))) },
    changes: outlook.changes.filter((change) => written.has(change) || isDue(change)),
  };
}
