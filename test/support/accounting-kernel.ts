/** A model of the table that counts the traffic of EIPs. It refuses what the kernel refuses. */
import type { AccountingTransaction, ObservedAccounting } from "../../lib/nftables/accounting.ts";
import { accountingLines } from "../../lib/nftables/encode-accounting.ts";
import { catchAll } from "../../lib/nftables/maps.ts";

export class AccountingKernel {
  #frame: readonly string[] | undefined;
  #eips = new Set<string>();
  #counted = new Set<string>();

  observe(): ObservedAccounting {
    const strays = new Set(this.#counted.difference(this.#eips));
    return { frame: this.#frame, eips: new Set(this.#eips), strays };
  }

  /** What a driver commits for it. */
  apply({ frame, add, remove, strays }: AccountingTransaction): void {
    if (frame !== undefined) {
      if (frame.isReplaced !== (this.#frame !== undefined)) throw new Error("ENOENT or EEXIST");
      this.dropTable();
      this.#frame = frame.make && accountingLines(frame.make);
    }
    // An element for every other address has no key.
    for (const eip of remove)
      if (eip === catchAll || !this.#eips.delete(eip)) throw new Error(`ENOENT ${eip}`);
    if (this.#frame === undefined && add.length > 0) throw new Error("ENOENT");
    for (const eip of add) this.#eips.add(eip);
    for (const eip of [...remove, ...strays]) this.#counted.delete(eip);
  }

  /** A packet of each EIP, and what an agent leaves that died while it removed one. */
  count(...strays: readonly string[]): void {
    if (this.#frame !== undefined) this.#counted = new Set([...this.#counted, ...this.#eips, ...strays]);
  }

  dropTable(): void {
    this.#frame = undefined;
    this.#eips.clear();
    this.#counted.clear();
  }

  insertRule(): void {
    if (this.#frame !== undefined) this.#frame = [...this.#frame, "rule drop"];
  }

  setElements(...eips: readonly string[]): void {
    if (this.#frame !== undefined) this.#eips = new Set(eips);
  }
}
