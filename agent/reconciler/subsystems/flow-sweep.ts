/**
 * Ends the flows that contradict the program, and reports which remain.
 *
 * Some come back: an inbound flow to a plain pod address is created again, untranslated, by its next packet. So no flow
 * is ended more than twice under one program; after that it is reported as shadowed and left alone.
 */
import type { Flow, FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { flowKey } from "../../../lib/conntrack/text.ts";
import type { ConntrackDriver } from "../../kernel/drivers.ts";

export interface SweepResult {
  readonly removed: number;
  /** Flows that still contradict the program, without shadowed ones. */
  readonly remaining: readonly Flow[];
  readonly shadowed: number;
}

/** Maximum flows per round. A table full of contradictions needs several rounds. */
const roundSize = 20_000;
const maxRounds = 16;
const maxDeletions = 2;

export class FlowSweep {
  readonly #conntrack: ConntrackDriver;
  /** How often each flow of the last sweep was ended under this program. */
  #deletions = new Map<string, number>();
  /** Not kept alive: thousands of objects belong to it. */
  #program: WeakRef<object> | undefined;

  constructor(conntrack: ConntrackDriver) {
    this.#conntrack = conntrack;
  }

  /** @param program what `contradicts` was compiled from; a new program resets the counts */
  async sweep(contradicts: FlowPredicate, program: object, signal: AbortSignal): Promise<SweepResult> {
    if (program !== this.#program?.deref()) {
      this.#deletions = new Map();
      this.#program = new WeakRef(program);
    }
    const deletions = new Map<string, number>();
    let removed = 0;
    for (let round = 0; round < maxRounds; round++) {
      const { flows, total } = await this.#conntrack.find(contradicts, roundSize, signal);
      const toEnd: Flow[] = [];
      for (const flow of flows) {
        const count = this.#deletionsOf(flow, deletions);
        if (count < maxDeletions) toEnd.push(flow);
        deletions.set(flowKey(flow), Math.min(count + 1, maxDeletions));
      }
      if (toEnd.length > 0) removed += (await this.#conntrack.remove(toEnd, signal)).removed;
      // Each deletion was acknowledged, and the current rules create no such flow: another look would find none.
      const isAll = total <= flows.length || toEnd.length === 0;
      if (isAll) return this.#end(removed, [], total - toEnd.length, deletions);
    }
    const { flows, total } = await this.#conntrack.find(contradicts, roundSize, signal);
    const remaining = flows.filter((flow) => this.#deletionsOf(flow, deletions) < maxDeletions);
    return this.#end(removed, remaining, total - remaining.length, deletions);
  }

  #deletionsOf(flow: Flow, deletions: ReadonlyMap<string, number>): number {
    const key = flowKey(flow);
    return deletions.get(key) ?? this.#deletions.get(key) ?? 0;
  }

  #end(
    removed: number,
    remaining: readonly Flow[],
    shadowed: number,
    deletions: Map<string, number>,
  ): SweepResult {
    this.#deletions = deletions;
    return { removed, remaining, shadowed };
  }
}
