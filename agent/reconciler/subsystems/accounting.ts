/** Traffic accounting: the table that counts the packets and bytes of each EIP. */
import type { ObservedAccounting } from "../../../lib/nftables/accounting.ts";
import { accountingPlanner } from "../../../lib/plan/accounting/planner.ts";
import type { AccountingStep } from "../../../lib/plan/accounting/steps.ts";
import type { AccountingDriver } from "../../kernel/drivers.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";

export function accountingSubsystem(
  driver: AccountingDriver,
  isWanted: boolean,
): Subsystem<ObservedAccounting | undefined, AccountingStep> {
  return {
    planner: accountingPlanner(isWanted),
    observe: (signal) => driver.observe(signal),
    isCurrent: (signal) => driver.isCurrent(signal),
    async apply(steps, _context, signal) {
      const failures = await driver.apply(
        steps.map(({ payload }) => payload),
        signal,
      );
      return failures.map(({ step: { changes }, code, message }): StepFailure => {
        const [change] = changes;
        return { ...(change !== undefined && { text: change.text }), code, message };
      });
    },
  };
}
