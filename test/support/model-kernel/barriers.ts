/** The nftables tables of guard and gate, as far as the agent uses them: base chains, and rules that drop. */
import type { CommandOutput } from "../../../agent/kernel/run.ts";

/** `iifname A oifname B [ct state invalid] drop`. */
export interface Barrier {
  readonly from: string;
  readonly to: string;
  readonly onlyInvalid: boolean;
}

interface Chain {
  readonly type: string;
  readonly hook: string;
  readonly prio: number;
  readonly rules: readonly Barrier[];
}
type Table = ReadonlyMap<string, Chain>;

const statement = /^(add|delete) (table|chain|rule) ip (\S+)(?: (\S+) (.+))?$/;
const ruleText = /^iifname "(.+)" oifname "(.+?)"( ct state invalid)? drop$/;
const chainText = /^\{ type (\S+) hook (\S+) priority (-?\d+); policy accept; \}$/;
const block = /^table ip (\S+) \{\n {2}chain (\S+) \{\n {4}(.*)\n([^}]*) {2}\}\n\}\n/m;

export class Barriers {
  /** How often anything was written. */
  commits = 0;
  #tables = new Map<string, Table>();

  /** Every barrier that forwarded packets meet, the earliest hook first. */
  all(): readonly Barrier[] {
    return this.#chains()
      .filter(({ hook }) => hook === "forward")
      .toSorted((one, other) => one.prio - other.prio)
      .flatMap(({ rules }) => rules);
  }

  has(table: string): boolean {
    return this.#tables.has(table);
  }

  /** `nft -f -`: all of it or nothing. */
  load(input: string): CommandOutput {
    const tables = new Map(this.#tables);
    for (const line of asStatements(input)) {
      const [, verb, what, name = "", chain = "", text = ""] = statement.exec(line) ?? [];
      const table = tables.get(name);
      if (verb === "add" && what === "table") tables.set(name, table ?? new Map());
      else if (table === undefined)
        return { exitCode: 1, stdout: "", stderr: "Error: No such file or directory\n" };
      else if (verb === "delete" && what === "table") tables.delete(name);
      else tables.set(name, new Map(table).set(chain, changed(line, what, table.get(chain), text)));
    }
    this.#tables = tables;
    this.commits++;
    return { exitCode: 0, stdout: "", stderr: "" };
  }

  /** `nft -j list table ip NAME`. */
  list(name: string): CommandOutput {
    const table = this.#tables.get(name);
    if (table === undefined) return { exitCode: 1, stdout: "", stderr: "Error: No such file or directory\n" };
    const where = { family: "ip", table: name };
    const nftables = [
      { metainfo: { json_schema_version: 1 } },
      { table: { family: "ip", name, handle: 1 } },
      ...[...table].map(([chain, { rules: _, ...base }]) => ({
        chain: { ...where, name: chain, handle: 1, ...base, policy: "accept" },
      })),
      ...[...table].flatMap(([chain, { rules }]) =>
        rules.map((rule) => ({ rule: { ...where, chain, handle: 1, expr: expressions(rule) } })),
      ),
    ];
    return { exitCode: 0, stdout: JSON.stringify({ nftables }), stderr: "" };
  }

  #chains(): readonly Chain[] {
    return [...this.#tables.values()].flatMap((table) => [...table.values()]);
  }
}

/** Converts a table in block form to one statement per line. */
function asStatements(input: string): readonly string[] {
  const plain = input.replace(block, (_all, table, chain, head, body: string) => {
    const rules = body.trim() === "" ? [] : body.trim().split(/\n\s*/);
    const lines = [`add table ip ${table}`, `add chain ip ${table} ${chain} { ${head} }`];
    return [...lines, ...rules.map((rule) => `add rule ip ${table} ${chain} ${rule}`), ""].join("\n");
  });
  return plain === input ? input.split("\n").filter((line) => line !== "") : asStatements(plain);
}

function changed(line: string, what: string | undefined, chain: Chain | undefined, text: string): Chain {
  const [, type, hook, prio] = (what === "chain" && chainText.exec(text)) || [];
  if (type !== undefined && hook !== undefined) return chain ?? { type, hook, prio: Number(prio), rules: [] };
  const [, from, to, invalid] = (what === "rule" && ruleText.exec(text)) || [];
  if (chain === undefined || from === undefined || to === undefined)
    throw new Error(`the model does not support this nftables input: ${line}`);
  return { ...chain, rules: [...chain.rules, { from, to, onlyInvalid: invalid !== undefined }] };
}

function expressions({ from, to, onlyInvalid }: Barrier): readonly object[] {
  const name = (key: string, right: string) => ({ match: { op: "==", left: { meta: { key } }, right } });
  const invalid = { match: { op: "in", left: { ct: { key: "state" } }, right: "invalid" } };
  return [name("iifname", from), name("oifname", to), ...(onlyInvalid ? [invalid] : []), { drop: null }];
}
