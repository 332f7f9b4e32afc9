/**
 * The nftables tables beside the rules of iptables: guard and gates, and the DNATs with several backends. Without nft
 * both are rules of iptables, and nothing is read here.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import { backendsTable, isSameBackends } from "../../../lib/nftables/backends.ts";
import { type Commit, touchesBackends } from "../../../lib/nftables/commits.ts";
import { tableLabel } from "../../../lib/nftables/family.ts";
import { type DropCounts, isSameFilterTables } from "../../../lib/nftables/filter-tables.ts";
import type { IptablesObserved } from "../../../lib/plan/iptables/observed.ts";
import type { IptablesPayload, IptablesStep, RulesStep } from "../../../lib/plan/iptables/payload.ts";
import type { BackendsDriver } from "../nftables/backends.ts";
import type { FilterTablesDriver } from "../nftables/filter-tables.ts";
import { guardOrGate, stepResult } from "../nftables/refusal.ts";
import type { StepResult } from "../plain-ruleset.ts";

/** A driver, or `undefined` where there is no nft. */
export type Find<Driver> = (signal: AbortSignal) => Promise<Driver | undefined>;

export type ObservedTables = Pick<IptablesObserved, "filterTables" | "backends">;

/** A step that writes one of the tables. */
export type TableStep = Exclude<IptablesStep, RulesStep>;

export class NftTables {
  readonly #filterTables: Find<FilterTablesDriver>;
  readonly #backends: Find<BackendsDriver>;
  #isForgotten = false;

  constructor(
    findFilterTables: Find<FilterTablesDriver> = absent,
    findBackends: Find<BackendsDriver> = absent,
  ) {
    this.#filterTables = foundOnce(findFilterTables);
    this.#backends = foundOnce(findBackends);
  }

  /** The next {@link read} trusts no earlier reading. */
  forget(): void {
    this.#isForgotten = true;
  }

  /** One after the other: they use one connection. */
  async read(signal: AbortSignal): Promise<ObservedTables> {
    if (this.#isForgotten) {
      (await this.#filterTables(signal))?.forget();
      (await this.#backends(signal))?.forget();
      this.#isForgotten = false;
    }
    const filterTables = await (await this.#filterTables(signal))?.read(signal);
    return { filterTables, backends: await this.#readBackends(signal) };
  }

  /** `last` with what own steps touched. */
  async readWritten(
    { filterTables, backends }: ObservedTables,
    written: readonly IptablesStep[],
    signal: AbortSignal,
  ): Promise<ObservedTables> {
    const filterTablesWritten = written.flatMap((step) =>
      step.kind === "filterTables" ? [step.transaction] : [],
    );
    const backendsWritten = written.flatMap((step) => (step.kind === "backends" ? [step.transaction] : []));
    return {
      filterTables:
        filterTables && filterTablesWritten.length > 0
          ? await (await this.#filterTables(signal))?.readWritten(filterTables, filterTablesWritten, signal)
          : filterTables,
      backends:
        backends && backendsWritten.length > 0
          ? await (await this.#backends(signal))?.readWritten(backends, backendsWritten, signal)
          : backends,
    };
  }

  /** `last` with what a commit of another program touched. No such commit touches guard and gates. */
  async readTouched(
    { filterTables, backends }: ObservedTables,
    commit: Commit,
    signal: AbortSignal,
  ): Promise<ObservedTables> {
    return {
      filterTables,
      backends: touchesBackends(commit.tables) ? await this.#readBackends(signal) : backends,
    };
  }

  /** @param generation the ruleset's that the step was planned on; `undefined`: that of the last reading */
  async write(
    step: TableStep,
    generation: number | undefined,
    signal: AbortSignal,
  ): Promise<StepResult<IptablesPayload>> {
    if (step.kind === "backends") {
      const driver = orThrow(await this.#backends(signal));
      const outcome = await driver.write(step.transaction, generation);
      return stepResult(step, outcome, `table ${tableLabel(backendsTable)}`);
    }
    const driver = orThrow(await this.#filterTables(signal));
    return stepResult(step, await driver.write(step.transaction, generation), guardOrGate);
  }

  /** `undefined` without nft. */
  async readGeneration(signal: AbortSignal): Promise<number | undefined> {
    return (await this.#filterTables(signal))?.readGeneration(signal);
  }

  /** What guard and gates dropped. `undefined` without nft. */
  async readDrops(signal: AbortSignal): Promise<DropCounts | undefined> {
    return (await this.#filterTables(signal))?.readCounts(signal);
  }

  async #readBackends(signal: AbortSignal): Promise<ObservedTables["backends"]> {
    return (await this.#backends(signal))?.read(signal);
  }
}

export function isSameTables(one: ObservedTables, other: ObservedTables): boolean {
  return (
    isSame(one.filterTables, other.filterTables, isSameFilterTables) &&
    isSame(one.backends, other.backends, isSameBackends)
  );
}

function isSame<T>(one: T | undefined, other: T | undefined, isEqual: (a: T, b: T) => boolean): boolean {
  return one === other || (one !== undefined && other !== undefined && isEqual(one, other));
}

const absent = async () => undefined;

/** Asks until it was answered once. */
function foundOnce<Driver>(find: Find<Driver>): Find<Driver> {
  let found: { readonly driver: Driver | undefined } | undefined;
  return async (signal) => {
    found ??= { driver: await find(signal) };
    return found.driver;
  };
}

function orThrow<Driver>(driver: Driver | undefined): Driver {
  if (driver === undefined) throw new GatewayError("internal", "there is no nft for a table of nftables");
  return driver;
}
