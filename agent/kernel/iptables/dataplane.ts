/** NAT by iptables, in either of its variants. */
import { setTimeout as delay } from "node:timers/promises";
import { type Chunked, runSync } from "../../../lib/chunked.ts";
import type { Rule } from "../../../lib/iptables/rule.ts";
import type { RuleDump } from "../../../lib/iptables/save.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Program } from "../../../lib/model/program.ts";
import { holdsBack, planBarrier } from "../../../lib/nftables/barrier.ts";
import { type EditLimits, editsByTool } from "../../../lib/plan/iptables/chain.ts";
import {
  type WantedTable,
  wantedFilter,
  wantedMangle,
  wantedNatChunked,
} from "../../../lib/plan/iptables/layout.ts";
import { missingRules } from "../../../lib/plan/iptables/missing.ts";
import {
  countOwned,
  eipsNamed,
  foreignRulesNaming,
  holdsObjects,
  isFilterGateClosed,
} from "../../../lib/plan/iptables/owned.ts";
import { planPart } from "../../../lib/plan/iptables/part.ts";
import { planTableChunked } from "../../../lib/plan/iptables/table.ts";
import type { Dataplane, GateState, IncrementalRules, RulePlan } from "../drivers.ts";
import type { IptablesObserved, IptablesStep } from "./known.ts";
import { type Refused, Ruleset, type RulesetOptions } from "./ruleset.ts";

export interface IptablesSteps {
  readonly steps: readonly IptablesStep[];
  /** What was planned for, to plan anew where the kernel was changed in between; a part of a program cannot be. */
  readonly whole: { readonly program: Program; readonly gate: GateState } | undefined;
}

/** Before each further try of a transaction that was refused. */
const retryDelaysMs = [20, 60, 180] as const;

export function createIptablesDataplane(options: RulesetOptions): Dataplane<IptablesObserved, IptablesSteps> {
  return new IptablesDataplane(options);
}

class IptablesDataplane implements Dataplane<IptablesObserved, IptablesSteps> {
  readonly #ruleset: Ruleset;
  readonly #layouts = new WeakMap<Program, Layout>();
  readonly #eips = new WeakMap<RuleDump, ReadonlySet<Ipv4>>();
  readonly #indexes = new WeakMap<readonly Rule[], ReadonlyMap<string, Rule>>();

  readonly shortcut: IncrementalRules<IptablesObserved, IptablesSteps> = {
    current: (signal) => this.#ruleset.current(signal),
    base: (signal) => this.#ruleset.base(signal),
    planPart: (from, to, { rules }) => {
      const find = (chain: string, text: string) => this.#index(rules.get("nat")?.get(chain) ?? []).get(text);
      const { table, input, changes } = planPart(this.#layout(from).nat, this.#layout(to).nat, find);
      const steps: IptablesStep[] =
        input === undefined ? [] : [{ kind: "rules", transaction: { table, input } }];
      return { changes, steps: { steps, whole: undefined } };
    },
    readBack: (signal) => this.#ruleset.readBack(signal),
  };

  constructor(options: RulesetOptions) {
    this.#ruleset = new Ruleset(options);
  }

  get backend(): Dataplane["backend"] {
    return `iptables-${this.#ruleset.variant}`;
  }

  observe(signal: AbortSignal): Promise<IptablesObserved> {
    return this.#ruleset.read(signal);
  }

  holdsRules({ rules }: IptablesObserved): boolean {
    return holdsObjects(rules);
  }

  eipsIn({ rules }: IptablesObserved): ReadonlySet<Ipv4> {
    const eips = this.#eips.get(rules) ?? eipsNamed(rules);
    this.#eips.set(rules, eips);
    return eips;
  }

  isGateClosed({ rules, barrier }: IptablesObserved): boolean {
    return barrier === undefined ? isFilterGateClosed(rules) : holdsBack(barrier.gate);
  }

  isPristine({ rules }: IptablesObserved): boolean {
    return countOwned(rules) === 0;
  }

  countRules({ rules }: IptablesObserved): number {
    return countOwned(rules);
  }

  foreignRulesNaming({ rules }: IptablesObserved, address: Ipv4): readonly string[] {
    return foreignRulesNaming(rules, address);
  }

  plan(
    program: Program,
    observed: IptablesObserved,
    gate: GateState,
    limits = this.#ruleset.limits,
  ): RulePlan<IptablesSteps> {
    return runSync(this.planChunked(program, observed, gate, limits));
  }

  *planChunked(
    program: Program,
    observed: IptablesObserved,
    gate: GateState,
    limits = this.#ruleset.limits,
  ): Chunked<RulePlan<IptablesSteps>> {
    const { mangle, nat } = yield* this.#lay(program);
    const rules = [
      yield* planRules(mangle, observed.rules, limits),
      yield* planRules(nat, observed.rules, limits),
    ];
    const barrier = planGateAndGuard(program, observed, gate);
    // What is closed is closed before anything else changes, and opened once all else stands.
    const isOpening = gate === "open" && this.isGateClosed(observed);
    const parts = isOpening ? [...rules, barrier] : [barrier, ...rules];
    return {
      changes: parts.flatMap(({ changes }) => changes),
      steps: { steps: parts.flatMap(({ steps }) => steps), whole: { program, gate } },
    };
  }

  missing(program: Program, { rules }: IptablesObserved): ReadonlyMap<ObjectId, string> {
    const { mangle, nat } = this.#layout(program);
    return missingRules(nat, mangle, rules);
  }

  /**
   * Where a transaction is refused, the kernel is read and planned for anew: what another writer changed in between
   * explains the refusal, and the new plan passes. It is the tools' to write: they ask for no quiet. A refusal that
   * nothing explains is thrown.
   */
  async apply({ steps: planned }: RulePlan<IptablesSteps>, signal: AbortSignal): Promise<void> {
    let steps = planned.steps;
    for (let attempt = 0; ; attempt++) {
      const refused = await this.#ruleset.write(steps, signal, attempt > 0);
      if (refused === undefined) break;
      const delayMs = retryDelaysMs[attempt];
      if (delayMs === undefined || planned.whole === undefined) throw refused.refusal.error;
      await delay(delayMs, undefined, { signal });
      const observed = await this.observe(signal);
      steps = this.plan(planned.whole.program, observed, planned.whole.gate, editsByTool).steps.steps;
      if (!refused.refusal.isRace && steps.some((step) => isSame(step, refused.transaction)))
        throw refused.refusal.error;
    }
    if (planned.whole === undefined) return;
    this.#ruleset.expect(rulesOf(this.#layout(planned.whole.program)));
    this.#ruleset.readAhead(signal);
  }

  #index(rules: readonly Rule[]): ReadonlyMap<string, Rule> {
    const index = this.#indexes.get(rules) ?? new Map(rules.map((rule) => [rule.text, rule]));
    this.#indexes.set(rules, index);
    return index;
  }

  #layout(program: Program): Layout {
    return runSync(this.#lay(program));
  }

  *#lay(program: Program): Chunked<Layout> {
    const known = this.#layouts.get(program);
    if (known !== undefined) return known;
    const layout = { mangle: wantedMangle(program), nat: yield* wantedNatChunked(program) };
    this.#layouts.set(program, layout);
    return layout;
  }
}

interface Layout {
  readonly mangle: WantedTable;
  readonly nat: WantedTable;
}

function rulesOf({ mangle, nat }: Layout): RuleDump {
  return new Map(
    [mangle, nat].map(({ table, chains }) => [
      table,
      new Map(chains.map(({ name, rules }) => [name, rules.map(({ rule }) => rule)])),
    ]),
  );
}

interface Part {
  readonly steps: readonly IptablesStep[];
  readonly changes: readonly Change[];
}

function planGateAndGuard(program: Program, { rules, barrier }: IptablesObserved, gate: GateState): Part {
  const isClosed = gate === "closed";
  if (barrier === undefined) return runSync(planRules(wantedFilter(program, isClosed), rules));
  const { input, changes } = planBarrier(program, barrier, isClosed);
  return { steps: input === undefined ? [] : [{ kind: "barrier", input }], changes };
}

function* planRules(wanted: WantedTable, observed: RuleDump, limits?: EditLimits): Chunked<Part> {
  const { table, input, changes } = yield* planTableChunked(wanted, observed.get(wanted.table), limits);
  return { steps: input === undefined ? [] : [{ kind: "rules", transaction: { table, input } }], changes };
}

function isSame(step: IptablesStep, { table, input }: Refused["transaction"]): boolean {
  return step.kind === "rules" && step.transaction.table === table && step.transaction.input === input;
}
