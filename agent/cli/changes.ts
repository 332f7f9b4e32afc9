/** Changes of the kernel as people and scripts see them. */
import { counted, grouped } from "../../lib/text/quantities.ts";
import { type Column, lines, type Section, type Style, table } from "../../lib/text/view.ts";
import type { Change, Flow, FlowList } from "./documents.ts";

const signs: Readonly<Record<Change["action"], readonly [string, Style]>> = {
  add: ["+", "good"],
  remove: ["-", "bad"],
  replace: ["~", "warn"],
  set: ["=", "warn"],
};

const changeColumns: readonly Column<Change>[] = [
  {
    head: "",
    cell: ({ action }) => {
      const [text, style] = signs[action] ?? ["?", "warn"];
      return { text, style };
    },
  },
  { head: "SUBSYSTEM", cell: ({ subsystem }) => subsystem },
  { head: "OBJECT", cell: ({ object = "-" }) => object, gives: "middle" },
  { head: "CHANGE", cell: ({ text }) => text, gives: "wrap" },
];

/** How many changes, and other entries of a list, are shown without `-o wide`. */
const mostListed = 20;

/** What is shown of a list, its begin and its end, and a line about the others. */
export function listed<T>(
  entries: readonly T[],
  isWhole: boolean,
): { readonly shown: readonly T[]; readonly more: string | undefined } {
  const isAll = isWhole || entries.length <= mostListed;
  const half = mostListed / 2;
  const shown = isAll ? entries : [...entries.slice(0, half), ...entries.slice(-half)];
  const others = entries.length - shown.length;
  return {
    shown,
    more: others === 0 ? undefined : `and ${grouped(others)} more in the middle: -o wide lists all`,
  };
}

/**
 * A table, and how many changes it leaves out.
 *
 * @param total of all changes; the agent lists at most some of them
 * @param isWhole false: of a long list, only begin and end
 */
export function changeSections(
  changes: readonly Change[],
  total: number,
  heading: string,
  isWhole = true,
): readonly Section[] {
  const { shown, more } = listed(changes, isWhole);
  const unlisted = total - changes.length;
  return [
    { heading: { text: heading, style: "strong" }, block: table(changeColumns, shown) },
    ...(more === undefined ? [] : [{ block: lines(more) }]),
    ...(unlisted > 0 ? [{ block: lines(`and ${counted(unlisted, "more change")}`) }] : []),
  ];
}

/** The objects that changes belong to, each once. */
export function objectsOf(changes: readonly Change[]): readonly string[] {
  return [...new Set(changes.flatMap(({ object }) => object ?? []))];
}

export function flowText({ protocol, original, reply }: Flow): string {
  return `${protocol} ${end(original.src, original.sport)} > ${end(original.dst, original.dport)}, answered by ${end(reply.src, reply.sport)}`;
}

/** ICMP has no ports. */
export function end(ip: string, port: number): string {
  return port === 0 ? ip : `${ip}:${port}`;
}

export const flowColumns: readonly Column<Flow>[] = [
  { head: "PROTO", cell: ({ protocol }) => protocol },
  { head: "FROM", cell: ({ original }) => end(original.src, original.sport) },
  { head: "TO", cell: ({ original }) => end(original.dst, original.dport) },
  { head: "ANSWERED-BY", cell: ({ reply }) => end(reply.src, reply.sport) },
  { head: "ANSWER-TO", cell: ({ reply }) => end(reply.dst, reply.dport) },
  { head: "NAT", cell: ({ natStatus }) => natStatus },
];

/** Flows, such as those that a write ends; nothing if there are none. */
export function brokenFlowSections(
  { total, items }: FlowList,
  verb = "Ends",
  listed = 10,
): readonly Section[] {
  if (total === 0) return [];
  const shown = items.slice(0, listed);
  const more =
    total > shown.length ? [{ block: lines(`and ${counted(total - shown.length, "more flow")}`) }] : [];
  return [
    {
      heading: { text: `${verb} ${counted(total, "live flow")}`, style: "bad" },
      block: table(flowColumns, shown),
    },
    ...more,
  ];
}
