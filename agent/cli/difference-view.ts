/** The differences between a manifest and the desired set, as people see them. */
import { counted } from "../../lib/text/quantities.ts";
import { type Column, lines, type Section, type Style, table } from "../../lib/text/view.ts";
import { value } from "./objects.ts";

export interface ObjectDifference {
  readonly action: "add" | "remove" | "replace";
  readonly object: string;
  /** The members that differ: of a new or removed object all. */
  readonly fields: readonly { readonly name: string; readonly before?: unknown; readonly after?: unknown }[];
}

const signs: Readonly<Record<ObjectDifference["action"], readonly [string, Style]>> = {
  add: ["+", "good"],
  remove: ["-", "bad"],
  replace: ["~", "warn"],
};

const columns: readonly Column<ObjectDifference>[] = [
  {
    head: "",
    cell: ({ action }) => {
      const [text, style] = signs[action];
      return { text, style };
    },
  },
  { head: "OBJECT", cell: ({ object }) => object, gives: "middle" },
  { head: "FIELDS", cell: fieldText, gives: "wrap" },
];

function fieldText({ action, fields }: ObjectDifference): string {
  return fields
    .map(({ name, before, after }) => {
      if (action !== "replace") return `${name}: ${value(action === "add" ? after : before)}`;
      return `${name}: ${value(before)} -> ${value(after)}`;
    })
    .join(", ");
}

/** The first `most`, and how many more there are. */
export function differenceSections(all: readonly ObjectDifference[], most: number): readonly Section[] {
  const shown = all.slice(0, most);
  const more = all.length - shown.length;
  return [
    { block: table(columns, shown) },
    ...(more > 0
      ? [{ block: lines({ text: `and ${counted(more, "more object")}: -o wide shows all`, style: "dim" }) }]
      : []),
  ];
}
