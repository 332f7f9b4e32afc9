/** NAT by iptables, in either of its variants. */
import { setTimeout as delay } from "node:timers/promises";
import type { Rule, TableName } from "../../../lib/iptables/rule.ts";
import { parseTable, type RuleDump, splitSave, type TableRules } from "../../../lib/iptables/save.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Program } from "../../../lib/model/program.ts";
import { holdsBack, type ObservedBarrier, planBarrier } from "../../../lib/nftables/barrier.ts";
import type { Change } from "../../../lib/plan/change.ts";
import { planTable } from "../../../lib/plan/iptables.ts";
import {
  type WantedTable,
  wantedFilter,
  wantedMangle,
  wantedNat,
} from "../../../lib/plan/iptables-layout.ts";
import { missingRules } from "../../../lib/plan/iptables-missing.ts";
import {
  countOwned,
  eipsNamed,
  foreignRulesNaming,
  holdsObjects,
  isFilterGateClosed,
} from "../../../lib/plan/iptables-owned.ts";
import { planPart } from "../../../lib/plan/iptables-part.ts";
import { isSameMap, keepWhile } from "../../../lib/remember.ts";
import { applyBarrier, observeBarrier } from "../nftables/barrier.ts";
import { nextGeneration } from "../nftables/transaction.ts";
import type { Run } from "../run.ts";
import type { Dataplane, GateState, RulePlan, Shortcut } from "../seams.ts";
import { type Refusal, restore, save, type Transaction, type Variant } from "./tools.ts";

export interface IptablesObserved {
  readonly rules: RuleDump;
  /** The nftables tables of guard and gate; `undefined` with legacy, where they are chains of the filter table. */
  readonly barrier: ObservedBarrier | undefined;
}

export type IptablesStep =
  | { readonly kind: "rules"; readonly transaction: Transaction }
  | { readonly kind: "barrier"; readonly input: string };

export interface IptablesSteps {
  readonly steps: readonly IptablesStep[];
  /** What was planned for, to plan anew where the kernel was changed in between; a part of a program cannot be. */
  readonly whole: { readonly program: Program; readonly gate: GateState } | undefined;
}

export interface IptablesDataplaneOptions {
  readonly run: Run;
  /** The variant, or how to choose it: asked by each observation until it answers. */
  readonly variant: Variant | VariantChooser;
  /** The generation of nf_tables, which every commit moves: with it an nft ruleset at rest is not read again. */
  readonly readGeneration?: (signal: AbortSignal) => Promise<number>;
}

/** Throws where there is no choice yet: then nothing is observed, and so nothing written. */
export type VariantChooser = (signal: AbortSignal) => Promise<Variant>;

/** Before each further try of a transaction that was refused. */
const retryDelaysMs = [20, 60, 180] as const;

export function createIptablesDataplane(
  options: IptablesDataplaneOptions,
): Dataplane<IptablesObserved, IptablesSteps> {
  return new IptablesDataplane(options);
}

/** Between two readings of a ruleset whose generation says that it did not move. */
const auditIntervalMs = 600_000;

class IptablesDataplane implements Dataplane<IptablesObserved, IptablesSteps> {
  readonly #run: Run;
  readonly #readGeneration: IptablesDataplaneOptions["readGeneration"];
  #variant: Variant | VariantChooser;
  /** The last reading, and the generation before and after it. */
  #known:
    | { readonly observed: IptablesObserved; readonly generation: number; readonly atMs: number }
    | undefined;
  /** Where own commits alone would have led since the last reading; none of them touched guard or gate. */
  #generationByUs: number | undefined;
  /** Each table as last read, beside its text: 30,000 rules that did not change are not parsed again. */
  readonly #tables = new Map<TableName, { readonly text: string; readonly rules: TableRules }>();
  /** What reads the same as before keeps its identity, so that nothing has to be planned anew. */
  readonly #keep = keepWhile(isSameReading);
  readonly #layouts = new WeakMap<Program, Layout>();
  readonly #indexes = new WeakMap<readonly Rule[], ReadonlyMap<string, Rule>>();

  readonly shortcut: Shortcut<IptablesObserved, IptablesSteps> = {
    current: (signal) => this.#current(signal),
    planPart: (from, to, { rules }) => {
      const find = (chain: string, text: string) => this.#index(rules.get("nat")?.get(chain) ?? []).get(text);
      const { table, input, changes } = planPart(this.#layout(from).nat, this.#layout(to).nat, find);
      const steps: IptablesStep[] =
        input === undefined ? [] : [{ kind: "rules", transaction: { table, input } }];
      return { changes, steps: { steps, whole: undefined } };
    },
  };

  constructor({ run, variant, readGeneration }: IptablesDataplaneOptions) {
    this.#run = run;
    this.#variant = variant;
    this.#readGeneration = readGeneration;
  }

  get backend(): Dataplane["backend"] {
    return `iptables-${typeof this.#variant === "function" ? "nft" : this.#variant}`;
  }

  async observe(signal: AbortSignal): Promise<IptablesObserved> {
    const variant = await this.#chosen(signal);
    const isNft = variant === "nft";
    const generation = await this.#generation(signal);
    const known = this.#ifCurrent(generation);
    if (known !== undefined) return known;
    const [tables, barrier] = await Promise.all([
      this.#readTables(variant, isNft ? ["nat", "mangle"] : ["nat", "mangle", "filter"], signal),
      isNft ? (this.#barrierAt(generation) ?? observeBarrier(this.#run, signal)) : undefined,
    ]);
    const rules = new Map(tables.map(({ table, text }) => [table, this.#parse(table, text)]));
    const observed = this.#keep({ rules, barrier });
    const isStill = generation !== undefined && (await this.#generation(signal)) === generation;
    this.#known = isStill ? { observed, generation, atMs: performance.now() } : undefined;
    this.#generationByUs = isStill ? generation : undefined;
    return observed;
  }

  holdsRules({ rules }: IptablesObserved): boolean {
    return holdsObjects(rules);
  }

  eipsIn({ rules }: IptablesObserved): ReadonlySet<Ipv4> {
    return eipsNamed(rules);
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

  plan(program: Program, observed: IptablesObserved, gate: GateState): RulePlan<IptablesSteps> {
    const { mangle, nat } = this.#layout(program);
    const rules = [mangle, nat].map((wanted) => planRules(wanted, observed.rules));
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
   * explains the refusal, and the new plan passes. A refusal that nothing explains is thrown.
   */
  async apply({ steps: planned }: RulePlan<IptablesSteps>, signal: AbortSignal): Promise<void> {
    let steps = planned.steps;
    for (let attempt = 0; ; attempt++) {
      const refused = await this.#applyAll(steps, signal);
      if (refused === undefined) return;
      const delayMs = retryDelaysMs[attempt];
      if (delayMs === undefined || planned.whole === undefined) throw refused.refusal.error;
      await delay(delayMs, undefined, { signal });
      const observed = await this.observe(signal);
      steps = this.plan(planned.whole.program, observed, planned.whole.gate).steps.steps;
      if (!refused.refusal.isRace && steps.some((step) => isSame(step, refused.transaction)))
        throw refused.refusal.error;
    }
  }

  async #applyAll(steps: readonly IptablesStep[], signal: AbortSignal): Promise<Refused | undefined> {
    for (const step of steps) {
      signal.throwIfAborted();
      if (step.kind === "barrier") {
        this.#generationByUs = undefined;
        await applyBarrier(step.input, this.#run);
        continue;
      }
      const { transaction } = step;
      const refusal = await restore(await this.#chosen(signal), transaction, this.#run);
      if (refusal !== undefined) return { refusal, transaction };
      if (this.#generationByUs !== undefined) this.#generationByUs = nextGeneration(this.#generationByUs);
    }
    return undefined;
  }

  async #current(signal: AbortSignal): Promise<IptablesObserved | undefined> {
    return this.#known === undefined ? undefined : this.#ifCurrent(await this.#generation(signal));
  }

  /** Guard and gate as last read, where nobody else can have changed them. */
  #barrierAt(generation: number | undefined): ObservedBarrier | undefined {
    if (generation === undefined || generation !== this.#generationByUs) return undefined;
    const known = this.#known;
    const isDue = known === undefined || performance.now() - known.atMs >= auditIntervalMs;
    return isDue ? undefined : known.observed.barrier;
  }

  #ifCurrent(generation: number | undefined): IptablesObserved | undefined {
    const known = this.#known;
    if (known === undefined || known.generation !== generation) return undefined;
    return performance.now() - known.atMs < auditIntervalMs ? known.observed : undefined;
  }

  /** `undefined` where nothing counts the commits: with legacy, and where nf_tables does not answer. */
  async #generation(signal: AbortSignal): Promise<number | undefined> {
    if (this.#variant !== "nft" || this.#readGeneration === undefined) return undefined;
    return this.#readGeneration(signal);
  }

  #index(rules: readonly Rule[]): ReadonlyMap<string, Rule> {
    const index = this.#indexes.get(rules) ?? new Map(rules.map((rule) => [rule.text, rule]));
    this.#indexes.set(rules, index);
    return index;
  }

  async #chosen(signal: AbortSignal): Promise<Variant> {
    if (typeof this.#variant === "function") this.#variant = await this.#variant(signal);
    return this.#variant;
  }

  /** A dump that was cut short between two tables looks whole: that a table is not there is believed at the second look. */
  async #readTables(variant: Variant, needed: readonly TableName[], signal: AbortSignal) {
    const tables = splitSave(await save(variant, this.#run, signal), needed);
    const isWhole = needed.every((name) => tables.some(({ table }) => table === name));
    return isWhole ? tables : splitSave(await save(variant, this.#run, signal), needed);
  }

  #parse(table: TableName, text: string): TableRules {
    const before = this.#tables.get(table);
    if (before?.text === text) return before.rules;
    const rules = parseTable({ table, text }, before?.rules);
    this.#tables.set(table, { text, rules });
    return rules;
  }

  #layout(program: Program): Layout {
    const known = this.#layouts.get(program);
    if (known !== undefined) return known;
    const layout = { mangle: wantedMangle(program), nat: wantedNat(program) };
    this.#layouts.set(program, layout);
    return layout;
  }
}

function isSameReading(one: IptablesObserved, other: IptablesObserved): boolean {
  return isSameMap(one.rules, other.rules) && JSON.stringify(one.barrier) === JSON.stringify(other.barrier);
}

interface Layout {
  readonly mangle: WantedTable;
  readonly nat: WantedTable;
}

interface Refused {
  readonly refusal: Refusal;
  readonly transaction: Transaction;
}

interface Part {
  readonly steps: readonly IptablesStep[];
  readonly changes: readonly Change[];
}

function planGateAndGuard(program: Program, { rules, barrier }: IptablesObserved, gate: GateState): Part {
  const isClosed = gate === "closed";
  if (barrier === undefined) return planRules(wantedFilter(program, isClosed), rules);
  const { input, changes } = planBarrier(program, barrier, isClosed);
  return { steps: input === undefined ? [] : [{ kind: "barrier", input }], changes };
}

function planRules(wanted: WantedTable, observed: RuleDump): Part {
  const { table, input, changes } = planTable(wanted, observed.get(wanted.table));
  return { steps: input === undefined ? [] : [{ kind: "rules", transaction: { table, input } }], changes };
}

function isSame(step: IptablesStep, { table, input }: Transaction): boolean {
  return step.kind === "rules" && step.transaction.table === table && step.transaction.input === input;
}
