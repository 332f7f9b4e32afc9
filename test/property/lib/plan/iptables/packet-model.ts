/** One iptables table in memory: applies a transaction whole or not at all, and refuses what the kernel refuses. */

import { parseRule } from "../../../../../lib/iptables/parse-rule.ts";
import type { TableName } from "../../../../../lib/iptables/rule.ts";
import { parseTable, type TableRules } from "../../../../../lib/iptables/save.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";

const builtIn: Readonly<Record<TableName, readonly string[]>> = {
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
};
const builtInTargets = new Set(["DNAT", "SNAT", "MARK", "DROP", "ACCEPT", "RETURN", "MASQUERADE", "LOG"]);

export class FakeTable {
  readonly table: TableName;
  #chains: Map<string, string[]>;

  constructor(table: TableName) {
    this.table = table;
    this.#chains = new Map(builtIn[table].map((name) => [name, []]));
  }

  /** Like `iptables-restore --noflush`. Throws and changes nothing if a line is refused. */
  restore(input: string): void {
    const lines = input.split("\n");
    if (lines[0] !== `*${this.table}` || lines.at(-2) !== "COMMIT" || lines.at(-1) !== "")
      throw new Error(`not one transaction: ${input}`);
    const before = this.#chains;
    this.#chains = new Map([...before].map(([name, rules]) => [name, [...rules]]));
    try {
      for (const line of lines.slice(1, -2)) this.#apply(line);
    } catch (error) {
      this.#chains = before;
      throw error;
    }
  }

  /** As iptables-save prints it. */
  save(): string {
    const rules = [...this.#chains].flatMap(([name, chain]) => chain.map((rule) => `-A ${name} ${rule}\n`));
    const chains = [...this.#chains.keys()].map(
      (name) => `:${name} ${this.#isBuiltIn(name) ? "ACCEPT" : "-"} [0:0]\n`,
    );
    return `# by hand\n*${this.table}\n${chains.join("")}${rules.join("")}COMMIT\n`;
  }

  read(before?: TableRules): TableRules {
    const text = this.save().slice("# by hand\n".length, -"COMMIT\n".length);
    return parseTable({ table: this.table, text }, ipv4, before);
  }

  rules(chain: string): readonly string[] {
    return this.#chains.get(chain) ?? [];
  }

  has(chain: string): boolean {
    return this.#chains.has(chain);
  }

  #apply(line: string): void {
    const [, verb = "", name = "", rest = ""] = /^(:|-[A-Z] )(\S+) ?(.*)$/.exec(line) ?? [];
    if (verb === ":") {
      if (this.#isBuiltIn(name)) throw new Error(`flushes a built-in chain: ${line}`);
      this.#chains.set(name, []);
      return;
    }
    const chain = this.#chains.get(name);
    if (chain === undefined) throw new Error(`no chain: ${line}`);
    if (verb === "-A ") {
      chain.push(this.#canonical(rest));
    } else if (verb === "-I ") {
      const [, position = "", rule = ""] = /^([0-9]+) (.*)$/.exec(rest) ?? [];
      if (Number(position) < 1 || Number(position) > chain.length + 1)
        throw new Error(`index too big: ${line}`);
      chain.splice(Number(position) - 1, 0, this.#canonical(rule));
    } else if (verb === "-D ") {
      const at = chain.indexOf(rest);
      if (at < 0) throw new Error(`no such rule: ${line}`);
      chain.splice(at, 1);
    } else if (verb === "-X ") {
      if (chain.length > 0 || this.#isBuiltIn(name) || this.#isTarget(name)) throw new Error(`busy: ${line}`);
      this.#chains.delete(name);
    } else {
      throw new Error(`what is ${line}`);
    }
  }

  #canonical(text: string): string {
    const rule = parseRule(text, ipv4);
    const target = / ?-j (\S+)/.exec(text)?.[1];
    if (target !== undefined && !builtInTargets.has(target) && !this.#chains.has(target))
      throw new Error(`no target ${target}`);
    return rule.text;
  }

  #isBuiltIn(chain: string): boolean {
    return builtIn[this.table].includes(chain);
  }

  #isTarget(chain: string): boolean {
    return [...this.#chains.values()].some((rules) => rules.some((rule) => rule.endsWith(`-j ${chain}`)));
  }
}
