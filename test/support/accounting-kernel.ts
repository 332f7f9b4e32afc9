/** A model of the table that counts the traffic of EIPs. It refuses what the kernel refuses. */
import type { AccountingTransaction, ObservedAccounting } from "../../lib/nftables/accounting.ts";
import { accountingLines } from "../../lib/nftables/encode-accounting.ts";
import { catchAll } from "../../lib/nftables/maps.ts";

export class AccountingKernel {
  #definition: readonly string[] | undefined;
  #eips = new Set<string>();
  #counted = new Set<string>();

  observe(): ObservedAccounting {
    const strays = new Set(this.#counted.difference(this.#eips));
    return { definition: this.#definition, eips: new Set(this.#eips), strays };
  }

  /** What a driver commits for it. */
  apply({ definition, add, remove, strays }: AccountingTransaction): void {
    if (definition !== undefined) {
      if (definition.isReplaced !== (this.#definition !== undefined)) throw new Error("ENOENT or EEXIST");
      this.dropTable();
      this.#definition = definition.make && accountingLines(definition.make);
    }
    // An element for every other address has no key.
    for (const eip of remove)
      if (eip === catchAll || !this.#eips.delete(eip)) throw new Error(`ENOENT ${eip}`);
    if (this.#definition === undefined && add.length > 0) throw new Error("ENOENT");
    for (const eip of add) this.#eips.add(eip);
    for (const eip of [...remove, ...strays]) this.#counted.delete(eip);
  }

  /** A packet of each EIP, and what an agent leaves that died while it removed one. */
  count(...strays: readonly string[]): void {
    if (this.#definition !== undefined) this.#counted = new Set([...this.#counted, ...this.#eips, ...strays]);
  }

  dropTable(): void {
    this.#definition = undefined;
    this.#eips.clear();
    this.#counted.clear();
  }

  insertRule(): void {
    if (this.#definition !== undefined) this.#definition = [...this.#definition, "rule drop"];
  }

  setElements(...eips: readonly string[]): void {
    if (this.#definition !== undefined) this.#eips = new Set(eips);
  }
}
