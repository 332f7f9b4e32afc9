/** The tables of guard and gates in memory, for tests of drivers without a kernel. */
import type { FilterTablesDriver } from "../../agent/kernel/nftables/filter-tables.ts";
import type { Program } from "../../lib/model/program.ts";
import { byFilterTable, type FilterTable } from "../../lib/nftables/filter-table-names.ts";
import {
  type FilterTablesTransaction,
  filterTableLines,
  type ObservedFilterTables,
} from "../../lib/nftables/filter-tables.ts";
import { filterInterfaces } from "../../lib/plan/gate/filter-tables.ts";
import type { Gates } from "../../lib/plan/gate-state.ts";
import { wantedGuard } from "../../lib/plan/guard.ts";
import { FilterTables } from "./model-kernel/filter-tables.ts";

export class FakeFilterTables implements FilterTablesDriver {
  readonly tables = new FilterTables();
  readonly calls: string[];
  /** Called for each transaction that was accepted. */
  onWrite: () => void = () => undefined;
  generation: () => number = () => 0;

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  readGeneration = async () => this.generation();

  async read(): Promise<ObservedFilterTables> {
    this.calls.push("filterTables read");
    return this.tables.read();
  }

  forget(): void {
    this.calls.push("filterTables forget");
  }

  async readWritten(): Promise<ObservedFilterTables> {
    this.calls.push("filterTables read written");
    return this.tables.read();
  }

  async write(transaction: FilterTablesTransaction, generation: number | undefined) {
    this.calls.push("filterTables write");
    if (generation !== undefined && generation !== this.generation()) return { kind: "stale" } as const;
    if (!this.tables.write(transaction)) {
      const error = { errno: 2, code: "ENOENT", message: "no such file or directory" };
      return { kind: "refused", error, fault: undefined } as const;
    }
    this.onWrite();
    return { kind: "done" } as const;
  }

  readCounts = async () => new Map();
}

/** The reading of a kernel whose guard and gates are those of `program`. */
export function filterTablesOf(program: Program, gates: Gates): ObservedFilterTables {
  const interfaces = filterInterfaces(program);
  const isThere = (name: FilterTable) => name === "guard" || (name !== "set" && gates[name] === "closed");
  return {
    definitions: byFilterTable((name) => (isThere(name) ? filterTableLines(name, interfaces) : undefined)),
    elements: wantedGuard(program),
  };
}
