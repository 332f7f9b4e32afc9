/** The iptables tables of one namespace in memory, behind the tools: what they print, accept and refuse. */

import type { CommandOutput } from "../../../agent/kernel/run.ts";
import { parseRule } from "../../../lib/iptables/parse-rule.ts";
import type { ChainRemovals } from "../../../lib/iptables/removals.ts";
import type { Rule, TableName } from "../../../lib/iptables/rule.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";

export type Variant = "nft" | "legacy";
/** A variant of iptables, with or without nf_tables in the same kernel, or nftables. */
export type ModelDataplane = Variant | "legacy without nft" | "nftables";

const builtIn: Readonly<Record<TableName, readonly string[]>> = {
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
};
const targets = new Set(["DNAT", "SNAT", "MARK", "DROP", "ACCEPT", "RETURN"]);

type Chains = Map<string, readonly Rule[]>;

/** A line that the tools refuse, by its number from 1. */
class RefusedLine extends Error {}

export class Tables {
  readonly variant: Variant;
  /** The kernel refuses rules whose text matches, from any process. */
  refused: RegExp | undefined;
  /** Number of writes. */
  commits = 0;
  readonly #tables = new Map<TableName, Chains>();
  readonly #parsed = new Map<string, Rule>();

  constructor(variant: Variant) {
    this.variant = variant;
  }

  /** The rules of a chain, in order. Empty if the chain does not exist. */
  rules(table: TableName, chain: string): readonly Rule[] {
    return this.#tables.get(table)?.get(chain) ?? [];
  }

  /** The chains of a table, including built-in ones. */
  chains(table: TableName): readonly string[] {
    return [...(this.#tables.get(table)?.keys() ?? [])];
  }

  /** All rules of all chains. */
  all(): readonly Rule[] {
    return [...this.#tables.values()].flatMap((chains) => [...chains.values()].flat());
  }

  /** The output of `iptables-save`: only tables that were ever used. */
  save(): string {
    return [...this.#tables].map(([table, chains]) => `# Generated\n${tableText(table, chains)}`).join("");
  }

  /** `iptables-restore --noflush` of one table: all of it or nothing. */
  restore(input: string): CommandOutput {
    const lines = input.split("\n");
    const table = lines[0]?.slice(1) as TableName;
    const chains: Chains = new Map(
      this.#tables.get(table) ?? builtIn[table].map((chain): [string, Rule[]] => [chain, []]),
    );
    const commit = lines.indexOf("COMMIT");
    try {
      for (const [index, line] of lines.slice(1, commit).entries())
        this.#apply(table, chains, line, index + 2);
      const dangling = jumpsOf(chains).find((chain) => !chains.has(chain));
      if (dangling !== undefined) throw new RefusedLine(String(commit + 1));
      const bad = this.#refusedLine(lines);
      // The legacy kernel interface replaces the table as a whole, so COMMIT fails.
      if (bad !== undefined) throw new RefusedLine(String(this.variant === "nft" ? bad : commit + 1));
    } catch (error) {
      if (!(error instanceof RefusedLine)) throw error;
      return { exitCode: 1, stdout: "", stderr: `iptables-restore: line ${error.message} failed\n` };
    }
    this.#tables.set(table, chains);
    this.commits++;
    return { exitCode: 0, stdout: "", stderr: "" };
  }

  /** What `iptables -t TABLE -S CHAIN` prints. */
  list(table: TableName, chain: string): CommandOutput {
    const rules = this.#tables.get(table)?.get(chain);
    if (rules === undefined) return { exitCode: 1, stdout: "", stderr: "iptables: No chain by that name.\n" };
    const head = builtIn[table].includes(chain) ? `-P ${chain} ACCEPT` : `-N ${chain}`;
    const stdout = [head, ...rules.map(({ text }) => `-A ${chain} ${text}`), ""].join("\n");
    return { exitCode: 0, stdout, stderr: "" };
  }

  /** Deletes rules by position: all of them or none. @returns false if a chain is not as expected */
  removeAt(removals: readonly ChainRemovals[]): boolean {
    if (removals.some(({ table, chain, length }) => this.rules(table, chain).length !== length)) return false;
    for (const { table, chain, positions } of removals) {
      const rules = this.rules(table, chain).filter((_, position) => !positions.has(position));
      this.#tables.set(table, new Map(this.#tables.get(table)).set(chain, rules));
    }
    this.commits++;
    return true;
  }

  #apply(table: TableName, chains: Chains, line: string, number: number): void {
    const [, verb = "", name = "", rest = ""] = /^(:|-[A-Z] )(\S+) ?(.*)$/.exec(line) ?? [];
    const refuse = () => new RefusedLine(String(number));
    const rules = chains.get(name);
    if (verb === ":") {
      if (builtIn[table].includes(name)) throw refuse();
      chains.set(name, []);
    } else if (rules === undefined) {
      throw refuse();
    } else if (verb === "-A ") {
      chains.set(name, [...rules, this.#parse(rest)]);
    } else if (verb === "-I ") {
      const [, position = "1", rule = ""] = /^(?:([0-9]+) )?(.*)$/.exec(rest) ?? [];
      if (Number(position) > rules.length + 1) throw refuse();
      chains.set(name, rules.toSpliced(Number(position) - 1, 0, this.#parse(rule)));
    } else if (verb === "-D ") {
      const at = rules.findIndex(({ text }) => text === this.#parse(rest).text);
      if (at < 0) throw refuse();
      chains.set(name, rules.toSpliced(at, 1));
    } else if (verb === "-X ") {
      if (rules.length > 0 || builtIn[table].includes(name) || jumpsOf(chains).includes(name)) throw refuse();
      chains.delete(name);
    } else if (verb === "-F ") {
      chains.set(name, []);
    } else {
      throw new Error(`the model does not support this line: ${line}`);
    }
  }

  #refusedLine(lines: readonly string[]): number | undefined {
    const { refused } = this;
    if (refused === undefined) return undefined;
    const index = lines.findIndex((line) => /^-[AI] /.test(line) && refused.test(line));
    return index < 0 ? undefined : index + 1;
  }

  #parse(text: string): Rule {
    const known = this.#parsed.get(text) ?? parseRule(text, ipv4);
    this.#parsed.set(text, known);
    return known;
  }
}

function tableText(table: TableName, chains: Chains): string {
  const policy = (chain: string) => (builtIn[table].includes(chain) ? "ACCEPT" : "-");
  return [
    `*${table}`,
    ...[...chains.keys()].map((chain) => `:${chain} ${policy(chain)} [0:0]`),
    ...[...chains].flatMap(([chain, rules]) => rules.map(({ text }) => `-A ${chain} ${text}`)),
    "COMMIT",
    "# Completed\n",
  ].join("\n");
}

/** The user-defined chains that rules jump to. */
function jumpsOf(chains: Chains): readonly string[] {
  return [...chains.values()].flatMap((rules) =>
    rules.flatMap(({ spec }) =>
      spec?.target.kind === "jump" && !targets.has(spec.target.chain) ? [spec.target.chain] : [],
    ),
  );
}
