/** NAT by nftables: one table, a dozen fixed rules, objects as elements of its maps. */

import { type Chunked, runSync } from "../../../lib/chunked.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Program } from "../../../lib/model/program.ts";
import { holdsBack, planBarrier } from "../../../lib/nftables/barrier.ts";
import type { Counter } from "../../../lib/nftables/decode-elements.ts";
import { isElementMessage, keyAt } from "../../../lib/nftables/encode-elements.ts";
import { linesNaming } from "../../../lib/nftables/foreign.ts";
import { byMap, mapNames, tableName } from "../../../lib/nftables/maps.ts";
import {
  compareTable,
  type ObservedTable,
  type TableDifference,
} from "../../../lib/plan/nftables/compare.ts";
import { type WantedTable, wantedTable } from "../../../lib/plan/nftables/layout.ts";
import { missingElements } from "../../../lib/plan/nftables/missing.ts";
import { countElements, countFrameRules, eipsNamed } from "../../../lib/plan/nftables/owned.ts";
import { planPart } from "../../../lib/plan/nftables/part.ts";
import { planTable } from "../../../lib/plan/nftables/table.ts";
import type { Dataplane, GateState, IncrementalRules, RulePlan } from "../drivers.ts";
import { visitElements } from "./read.ts";
import { type NftablesObserved, type NftablesStep, Ruleset, type RulesetOptions } from "./ruleset.ts";
import type { Outcome } from "./transaction.ts";

export interface NftablesSteps {
  readonly steps: readonly NftablesStep[];
  /** What was planned on: the kernel takes the steps only while it stands as then. */
  readonly base: NftablesObserved;
  /** What was planned for, to plan anew where the kernel was changed in between; a part of a program cannot be. */
  readonly whole: { readonly program: Program; readonly gate: GateState } | undefined;
}

export interface NftablesDataplane extends Dataplane<NftablesObserved, NftablesSteps> {
  /**
   * What the elements of each object of `program` counted: its new flows and the bytes of their first packets, since
   * later packets pass no rule. It begins anew where an element or the table is made anew.
   */
  counters(program: Program, signal: AbortSignal): Promise<ReadonlyMap<ObjectId, Readonly<Counter>>>;
}

/** The connection is one of `openNftables`; its owner closes it. */
export function createNftablesDataplane(options: RulesetOptions): NftablesDataplane {
  return new DataplaneOfNftables(options);
}

/** How often a plan is made anew because another writer was faster. */
const maxAttempts = 5;

class DataplaneOfNftables implements NftablesDataplane {
  readonly backend = "nftables";
  readonly #netlink: RulesetOptions["netlink"];
  readonly #ruleset: Ruleset;
  readonly #wanted = new WeakMap<Program, WantedTable>();
  readonly #eips = new WeakMap<ObservedTable, ReadonlySet<Ipv4>>();
  /** The last comparison: planning and judging ask for the same one. */
  #compared: { wanted: WantedTable; table: ObservedTable; difference: TableDifference } | undefined;

  readonly shortcut: IncrementalRules<NftablesObserved, NftablesSteps> = {
    current: (signal) => this.#ruleset.current(signal),
    base: (signal) => this.#ruleset.current(signal),
    readBack: (signal) => this.#ruleset.follow(signal),
    planPart: (from, to, observed) => {
      const { changes, transaction } = planPart(this.#want(from), this.#want(to), observed.table.elements);
      const steps: NftablesStep[] = transaction === undefined ? [] : [{ kind: "table", transaction }];
      return { changes, steps: { steps, base: observed, whole: undefined } };
    },
  };

  constructor(options: RulesetOptions) {
    this.#netlink = options.netlink;
    this.#ruleset = new Ruleset(options);
  }

  observe(signal: AbortSignal): Promise<NftablesObserved> {
    return this.#ruleset.read(signal);
  }

  holdsRules({ table }: NftablesObserved): boolean {
    return countElements(table) > 0;
  }

  eipsIn({ table }: NftablesObserved): ReadonlySet<Ipv4> {
    const eips = this.#eips.get(table) ?? eipsNamed(table);
    this.#eips.set(table, eips);
    return eips;
  }

  isGateClosed({ barrier }: NftablesObserved): boolean {
    return holdsBack(barrier.gate);
  }

  isPristine(observed: NftablesObserved): boolean {
    return this.countRules(observed) === 0;
  }

  countRules({ table }: NftablesObserved): number {
    return countElements(table) + countFrameRules(table);
  }

  foreignRulesNaming({ foreign }: NftablesObserved, address: Ipv4): readonly string[] {
    return linesNaming(foreign, address);
  }

  plan(program: Program, observed: NftablesObserved, gate: GateState): RulePlan<NftablesSteps> {
    return runSync(this.planChunked(program, observed, gate));
  }

  *planChunked(
    program: Program,
    observed: NftablesObserved,
    gate: GateState,
  ): Chunked<RulePlan<NftablesSteps>> {
    const difference = this.#compare(program, observed.table);
    yield;
    const table = planTable(this.#want(program), observed.table, difference);
    const barrier = planBarrier(program, observed.barrier, gate === "closed");
    const parts: Part[] = [
      {
        changes: table.changes,
        step: table.transaction && { kind: "table", transaction: table.transaction },
      },
      { changes: barrier.changes, step: barrier.input && { kind: "barrier", input: barrier.input } },
    ];
    // What is closed is closed before anything else changes, and opened once all else stands.
    const isOpening = gate === "open" && this.isGateClosed(observed);
    if (!isOpening) parts.reverse();
    return {
      changes: parts.flatMap(({ changes }) => changes),
      steps: { steps: parts.flatMap(({ step }) => step || []), base: observed, whole: { program, gate } },
    };
  }

  missing(program: Program, { table }: NftablesObserved): ReadonlyMap<ObjectId, string> {
    return missingElements(this.#want(program), this.#compare(program, table));
  }

  /** Where somebody else wrote since the plan was made, the kernel is read and planned for anew. */
  async apply({ steps: planned }: RulePlan<NftablesSteps>, signal: AbortSignal): Promise<void> {
    let { steps, base } = planned;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const outcome = await this.#ruleset.write(steps, base);
      if (outcome.kind === "done") return;
      if (outcome.kind === "refused") throw refusal(outcome);
      if (attempt === maxAttempts || planned.whole === undefined)
        throw new GatewayError(
          "netlink-failed",
          `others changed the ruleset ${attempt} times before a commit`,
        );
      base = await this.observe(signal);
      ({ steps } = this.plan(planned.whole.program, base, planned.whole.gate).steps);
    }
  }

  async counters(program: Program, signal: AbortSignal): Promise<ReadonlyMap<ObjectId, Readonly<Counter>>> {
    const counters = new Map<ObjectId, Counter>();
    if ((await this.observe(signal)).table.frame === undefined) return counters;
    // By key first: a dump that was interrupted begins anew and tells elements twice.
    const counted = byMap(() => new Map<string, Counter>());
    for (const map of mapNames) {
      const count = (key: string, _: string, counter: Counter) => counted[map].set(key, { ...counter });
      await visitElements(this.#netlink, map, count, signal);
    }
    this.#want(program).visit((map, key, _value, object) => {
      const { packets = 0, bytes = 0 } = counted[map].get(key) ?? {};
      const sum = counters.get(object) ?? { packets: 0, bytes: 0 };
      counters.set(object, { packets: sum.packets + packets, bytes: sum.bytes + bytes });
    });
    return counters;
  }

  #want(program: Program): WantedTable {
    const wanted = this.#wanted.get(program) ?? wantedTable(program);
    this.#wanted.set(program, wanted);
    return wanted;
  }

  #compare(program: Program, table: ObservedTable): TableDifference {
    const wanted = this.#want(program);
    const last = this.#compared;
    if (last?.wanted === wanted && last.table === table) return last.difference;
    const difference = compareTable(wanted, table);
    this.#compared = { wanted, table, difference };
    return difference;
  }
}

interface Part {
  readonly changes: RulePlan["changes"];
  readonly step: NftablesStep | "" | undefined;
}

function refusal({ error, fault }: Extract<Outcome, { kind: "refused" }>): GatewayError {
  const words = `${error.code}: ${error.message}`;
  const details = { code: error.code, errno: error.errno };
  // A refusal of no message in particular is no verdict on rules: a missing right, no memory.
  if (fault === undefined)
    return new GatewayError("netlink-failed", `nftables transaction: ${words}`, { details });
  const { message, offset } = fault;
  const [only] = isElementMessage(message) && message.keys.length === 1 ? message.keys : [];
  const what = isElementMessage(message)
    ? `an element of map ${message.map}: ${(offset && keyAt(message, offset)) ?? only ?? "which, it does not say"}`
    : `table ip ${tableName}`;
  return new GatewayError("rules-refused", `the kernel refused ${what}: ${words}`, { details });
}
