/** Plans the change from one part of a program to another, object by object, within the chains of one table. */
import { appendRule, deleteRule, restoreInput } from "../../iptables/restore.ts";
import type { Rule } from "../../iptables/rule.ts";
import type { Change } from "../../model/change.ts";
import type { ObjectId } from "../../model/names.ts";
import { subsystemOf } from "./chain.ts";
import type { WantedRule, WantedTable } from "./layout.ts";
import type { TablePlan } from "./table.ts";

/** Finds a rule of a chain by its canonical text. */
export type FindRule = (chain: string, text: string) => Rule | undefined;

/**
 * The rules of each object go in order to the end of their chain: the parts share no packets with other rules. Rules
 * outside both parts and the fixed rules are not considered. On its own result it plans nothing.
 */
export function planPart(from: WantedTable, to: WantedTable, find: FindRule): TablePlan {
  const lines: string[] = [];
  const changes: Change[] = [];
  const note = (action: Change["action"], chain: string, text: string, object?: ObjectId) => {
    lines.push(text);
    changes.push({ action, subsystem: subsystemOf(chain), text, ...(object !== undefined && { object }) });
  };
  for (const { name, rules } of to.chains) {
    const before = byObject(from.chains.find((chain) => chain.name === name)?.rules ?? []);
    const after = byObject(rules);
    for (const id of new Set([...before.keys(), ...after.keys()])) {
      const [were, are] = [before.get(id) ?? [], after.get(id) ?? []];
      const isSame = were.length === are.length && were.every(({ text }, at) => text === are[at]?.text);
      if (isSame ? are.every(({ text }) => find(name, text)) : isMoved(were, are, name, find)) continue;
      const texts = new Set([...were, ...are].map(({ text }) => text));
      for (const text of texts) {
        const held = find(name, text);
        if (held !== undefined) note("remove", name, deleteRule(name, held));
      }
      for (const rule of are) note("add", name, appendRule(name, rule), id);
    }
  }
  return { table: to.table, input: lines.length === 0 ? undefined : restoreInput(to.table, lines), changes };
}

/** True if everything wanted is present, and no old rule is left. */
function isMoved(were: readonly Rule[], are: readonly Rule[], chain: string, find: FindRule): boolean {
  const wanted = new Set(are.map(({ text }) => text));
  return (
    are.every(({ text }) => find(chain, text) !== undefined) &&
    were.every(({ text }) => wanted.has(text) || find(chain, text) === undefined)
  );
}

function byObject(rules: readonly WantedRule[]): ReadonlyMap<ObjectId, readonly Rule[]> {
  const groups = new Map<ObjectId, Rule[]>();
  for (const { rule, object } of rules) {
    if (object === undefined) continue;
    const group = groups.get(object);
    if (group === undefined) groups.set(object, [rule]);
    else group.push(rule);
  }
  return groups;
}
