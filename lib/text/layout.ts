/** Lays sections out as lines of a given width. */
import { printable } from "./printable.ts";
import type { Block, Fields, Lines, Section, Style, Styled, Table, Yield } from "./view.ts";

export interface Layout {
  /** Columns of the terminal. Infinity where it is none: then nothing is cut or wrapped. */
  readonly width: number;
  /** Gives a text its style, without changing its width. */
  readonly paint: (text: string, style: Style) => string;
}

/** Without colours. */
export const unpainted: Layout["paint"] = (text) => text;

const gap = "  ";
const indent = "  ";
/** Names and messages are not cut to less. */
const least: Readonly<Record<Yield, number>> = { middle: 12, end: 12, wrap: 24 };
const ellipsis = "...";

/** The lines of all sections, with an empty line between them. */
export function layOut(sections: readonly Section[], layout: Layout): readonly string[] {
  return sections.flatMap(({ heading, block }, index) => [
    ...(index > 0 ? [""] : []),
    ...(heading === undefined ? [] : wrapped(heading, layout, "")),
    ...linesOf(block, layout),
  ]);
}

function linesOf(block: Block, layout: Layout): readonly string[] {
  switch (block.kind) {
    case "table":
      return tableLines(block, layout);
    case "fields":
      return fieldLines(block, layout);
    case "lines":
      return textLines(block, layout);
  }
}

function textLines({ lines }: Lines, layout: Layout): readonly string[] {
  return lines.flatMap((line) => wrapped(line, layout, indent));
}

function fieldLines({ fields }: Fields, layout: Layout): readonly string[] {
  const label = Math.max(0, ...fields.map((field) => field.label.length)) + 1;
  const room = Math.max(layout.width - label - gap.length, least.wrap);
  return fields.flatMap((field) =>
    field.value
      .flatMap((value) => wrap(printable(value.text), room).map((text) => painted(text, value, layout)))
      .map((text, index) => `${(index === 0 ? `${field.label}:` : "").padEnd(label)}${gap}${text}`.trimEnd()),
  );
}

function tableLines({ heads, rows }: Table, layout: Layout): readonly string[] {
  const cells = rows.map((row) => row.map((cell) => ({ ...cell, text: printable(cell.text) })));
  const natural = heads.map(({ head }, at) =>
    cells.reduce((most, row) => Math.max(most, row[at]?.text.length ?? 0), head.length),
  );
  const widths = fit(
    natural,
    heads.map(({ head, gives }) => (gives === undefined ? undefined : Math.max(least[gives], head.length))),
    layout.width - gap.length * (heads.length - 1),
  );
  const line = (row: readonly Styled[]) =>
    row
      .map((cell, at) => {
        const space = " ".repeat(Math.max(0, (widths[at] ?? 0) - cell.text.length));
        const text = painted(cell.text, cell, layout);
        return heads[at]?.isRight ? `${space}${text}` : `${text}${space}`;
      })
      .join(gap)
      .trimEnd();
  const head = heads.map((column): Styled => ({ text: column.head, style: "dim" }));
  return [
    trimmed(line(head)),
    ...cells.flatMap((row) =>
      rowLines(
        row,
        widths,
        heads.map(({ gives }) => gives),
      ).map((part) => trimmed(line(part))),
    ),
  ];
}

/** A row as one or more: what does not fit is cut, or goes on in the next line. */
function rowLines(
  row: readonly Styled[],
  widths: readonly number[],
  gives: readonly (Yield | undefined)[],
): readonly (readonly Styled[])[] {
  const parts = row.map(({ text }, at) => {
    const width = widths[at] ?? text.length;
    const way = gives[at];
    if (text.length <= width || way === undefined) return [text];
    return way === "wrap" ? wrap(text, width) : [cut(text, width, way)];
  });
  const height = Math.max(1, ...parts.map((part) => part.length));
  return Array.from({ length: height }, (_, index) =>
    row.map((cell, at) => ({ ...cell, text: parts[at]?.[index] ?? "" })),
  );
}

/** Takes width from the widest columns that give way, until all fit or none gives more. */
function fit(
  natural: readonly number[],
  minima: readonly (number | undefined)[],
  room: number,
): readonly number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, width) => sum + width, 0) - room;
  while (excess > 0) {
    const giving = widths.flatMap((width, at) => (width > (minima[at] ?? width) ? [{ width, at }] : []));
    const [widest, next] = giving.sort((a, b) => b.width - a.width);
    if (widest === undefined) break;
    const floor = Math.max(minima[widest.at] ?? 0, Math.min(next?.width ?? 0, widest.width - 1));
    const width = Math.max(floor, widest.width - excess);
    widths[widest.at] = width;
    excess -= widest.width - width;
  }
  return widths;
}

/** `width` is at least the length of the ellipsis. */
export function cut(text: string, width: number, way: "middle" | "end"): string {
  const kept = width - ellipsis.length;
  const head = way === "end" ? kept : Math.ceil(kept / 2);
  const tail = kept - head;
  return `${text.slice(0, head)}${ellipsis}${tail === 0 ? "" : text.slice(-tail)}`;
}

/** Breaks at spaces, and within a word that is longer than the width. Keeps the spaces at the start. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(" ", width);
    const isUsable = space > 0 && rest.slice(0, space).trim() !== "";
    lines.push(rest.slice(0, isUsable ? space : width).trimEnd());
    rest = isUsable ? rest.slice(space + 1) : rest.slice(width);
  }
  return [...lines, rest];
}

function wrapped(line: Styled, layout: Layout, hanging: string): readonly string[] {
  const text = printable(line.text);
  if (text.length <= layout.width) return [painted(text, line, layout)];
  const start = `${/^ */.exec(text)?.[0] ?? ""}${hanging}`;
  const [first = ""] = wrap(text, Math.max(layout.width, least.wrap));
  const more = text.slice(first.length).trimStart();
  const rest = wrap(more, Math.max(layout.width - start.length, least.wrap));
  return [first, ...rest.map((part) => `${start}${part}`)].map((part) => painted(part, line, layout));
}

function painted(text: string, { style }: Styled, { paint }: Layout): string {
  return style === undefined || text === "" ? text : paint(text, style);
}

function trimmed(text: string): string {
  return text.trimEnd();
}
