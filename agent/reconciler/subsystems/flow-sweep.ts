/**
 * Ends the flows that contradict the program, and reports which are left.
 *
 * Some come back: an inbound flow to a bare pod address is made anew, untranslated, by its next packet. So no flow is ended more
 * than twice under one program; after that it is reported as shadowed and left alone.
 */
import type { Flow, FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { flowKey } from "../../../lib/conntrack/text.ts";
import type { ConntrackDriver } from "../../kernel/drivers.ts";

export interface SweepResult {
  readonly removed: number;
  /** Flows that contradict the program still; shadowed ones are not among them. */
  readonly remaining: readonly Flow[];
  readonly shadowed: number;
}

/** Flows that one round takes up; a table full of contradictions needs several. */
const roundSize = 20_000;
const maxRounds = 16;
const maxKills = 2;

export class FlowSweep {
  readonly #conntrack: ConntrackDriver;
  /** How often each flow that the last sweep saw has been killed under this program. */
  #kills = new Map<string, number>();
  #program: unknown;

  constructor(conntrack: ConntrackDriver) {
    this.#conntrack = conntrack;
  }

  /** @param program what `contradicts` was made from: under another, the counting starts anew */
  async sweep(contradicts: FlowPredicate, program: unknown, signal: AbortSignal): Promise<SweepResult> {
    if (program !== this.#program) this.#kills = new Map();
    this.#program = program;
    const kills = new Map<string, number>();
    let removed = 0;
    for (let round = 0; round < maxRounds; round++) {
      const { flows, total } = await this.#conntrack.find(contradicts, roundSize, signal);
      const doomed: Flow[] = [];
      for (const flow of flows) {
        const count = this.#killsOf(flow, kills);
        if (count < maxKills) doomed.push(flow);
        kills.set(flowKey(flow), Math.min(count + 1, maxKills));
      }
      if (doomed.length > 0) removed += (await this.#conntrack.remove(doomed, signal)).removed;
      // Each deletion was acknowledged, and the rules that are in force make no such flow: another look would find none.
      const isAll = total <= flows.length || doomed.length === 0;
      if (isAll) return this.#end(removed, [], total - doomed.length, kills);
    }
    const { flows, total } = await this.#conntrack.find(contradicts, roundSize, signal);
    const remaining = flows.filter((flow) => this.#killsOf(flow, kills) < maxKills);
    return this.#end(removed, remaining, total - remaining.length, kills);
  }

  #killsOf(flow: Flow, kills: ReadonlyMap<string, number>): number {
    const key = flowKey(flow);
    return kills.get(key) ?? this.#kills.get(key) ?? 0;
  }

  #end(
    removed: number,
    remaining: readonly Flow[],
    shadowed: number,
    kills: Map<string, number>,
  ): SweepResult {
    this.#kills = kills;
    return { removed, remaining, shadowed };
  }
}
