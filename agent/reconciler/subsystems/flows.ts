/** When flows are looked at, which EIPs' flows are on their way out, and whose were not looked at since they changed. */

import type { FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { compileContradicts } from "../../../lib/conntrack/permits.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { Ledger } from "../../../lib/model/ledger.ts";
import { withoutRemoved } from "../../../lib/plan/network/addresses.ts";
import type { State } from "../../../lib/state/state.ts";
import { leavingEips } from "../eips/ledger.ts";
import type { PassRequest } from "../loop.ts";
import type { Refusal } from "../pass/failures.ts";
import type { Outlook, Seen } from "../pass/outlook.ts";
import type { PassDeps } from "../pass/pass-result.ts";
import { FlowSweep, type SweepResult } from "./flow-sweep.ts";
import { UnsweptObjects } from "./unswept-objects.ts";

/** Between sweeps that nothing but the timer asks for. */
const sweepIntervalMs = 300_000;

export class Sweeper {
  /** Shared with the narrow passes between those over everything. */
  readonly unswept = new UnsweptObjects();
  readonly #parts: PassDeps;
  readonly #flows: FlowSweep;
  /** EIPs whose flows are to go, whether or not the ledger could be written. */
  #leaving = new Set<Ipv4>();
  #sweptAtMs = 0;
  /** The last sweep found something: a dump of a busy table may have missed more of it. */
  #mayBeMore = false;

  constructor(parts: PassDeps) {
    this.#parts = parts;
    this.#flows = new FlowSweep(parts.conntrack);
  }

  /**
   * Where nothing changed a sweep finds nothing, and reading a large table is not cheap: the timer alone asks for it rarely,
   * but once more after a sweep that did find something.
   */
  isDue({ isFull, reasons }: PassRequest): boolean {
    const isTimerAlone = reasons.every((reason) => reason === "timer");
    const isLongAgo = this.#parts.clock.bootMs() - this.#sweptAtMs >= sweepIntervalMs;
    return isFull && (!isTimerAlone || this.#mayBeMore || isLongAgo);
  }

  /** @param ledger of this epoch */
  async sweep(
    outlook: Outlook,
    before: Seen,
    ledger: Ledger,
    version: string,
    signal: AbortSignal,
  ): Promise<SweepResult> {
    this.#sweptAtMs = this.#parts.clock.bootMs();
    const named = this.#parts.dataplane.eipsIn(before.rules);
    for (const address of leavingEips(outlook, ledger, named)) this.#leaving.add(address);
    const retired = ledger.retired.union(this.#leaving);
    const { program } = outlook.compiled;
    // A table without a flow, as that of a new gateway, asks for nothing to be compiled.
    let compiled: FlowPredicate | undefined;
    const contradicts: FlowPredicate = (flow) => {
      // Flows to an EIP end here while its address stands; without it they go where their route leads.
      compiled ??= compileContradicts({
        program,
        retired,
        network: withoutRemoved(before.network, outlook.addresses.remove),
      });
      return compiled(flow);
    };
    const result = await this.#flows.sweep(contradicts, version, signal);
    this.#mayBeMore = result.removed > 0;
    return result;
  }

  /** Takes note of what became of the flows: they were looked at, nobody had to, or it failed after `changes`. */
  note(
    sweep: SweepResult | undefined,
    refusals: readonly Refusal[],
    changes: readonly Change[],
    { desired }: State,
    { compiled }: Outlook,
  ): void {
    const failure = refusals.find(({ stage }) => stage === "flows");
    if (sweep !== undefined) this.unswept.clear({ revision: desired.revision, blocked: compiled.blocked });
    else if (failure !== undefined) this.unswept.add(changes, desired, compiled, failure.message);
  }

  /** No flow is left that had to go: EIPs that are out are forgotten. */
  forgetLeaving(): void {
    this.#leaving = new Set();
  }
}
