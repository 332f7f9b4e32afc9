/** What a command shows to people, as data: tables, fields and lines, laid out by layout.ts. */

/** What a text means; the terminal decides how it looks. */
export type Style = "good" | "bad" | "warn" | "dim" | "strong";

export interface Styled {
  readonly text: string;
  readonly style?: Style;
}

export type Cell = string | Styled;

/** How a column gives way if the terminal is too narrow. Without one it keeps its width. */
export type Yield = "middle" | "end" | "wrap";

export interface Column<Row> {
  readonly head: string;
  readonly cell: (row: Row) => Cell;
  readonly isRight?: boolean;
  /** Shown with `-o wide` alone. */
  readonly isWide?: boolean;
  /** `middle` suits names, whose ends differ. `wrap` is for the last column. */
  readonly gives?: Yield;
}

export interface Table {
  readonly kind: "table";
  readonly heads: readonly { readonly head: string; readonly isRight: boolean; readonly gives?: Yield }[];
  readonly rows: readonly (readonly Styled[])[];
}

/** Labels with values, aligned. A value may have several lines. */
export interface Fields {
  readonly kind: "fields";
  readonly fields: readonly { readonly label: string; readonly value: readonly Styled[] }[];
}

/** Lines of text; a long one is wrapped at spaces, and its rest indented. */
export interface Lines {
  readonly kind: "lines";
  readonly lines: readonly Styled[];
}

export type Block = Table | Fields | Lines;

/** A block with the heading above it. */
export interface Section {
  readonly heading?: Styled;
  readonly block: Block;
}

/** A table of `rows`. Columns that are only for `-o wide` are left out unless `isWide`. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], isWide = false): Table {
  const shown = columns.filter((column) => isWide || column.isWide !== true);
  return {
    kind: "table",
    heads: shown.map(({ head, isRight = false, gives }) => ({
      head,
      isRight,
      ...(gives !== undefined && { gives }),
    })),
    rows: rows.map((row) => shown.map(({ cell }) => styled(cell(row)))),
  };
}

/** `undefined` values are left out. */
export function fields(values: Readonly<Record<string, Cell | readonly Cell[] | undefined>>): Fields {
  const present = Object.entries(values).flatMap(([label, value]) =>
    value === undefined ? [] : [{ label, value: cellsOf(value) }],
  );
  return { kind: "fields", fields: present };
}

export function lines(...given: readonly Cell[]): Lines {
  return { kind: "lines", lines: given.map(styled) };
}

export function styled(cell: Cell): Styled {
  return typeof cell === "string" ? { text: cell } : cell;
}

function cellsOf(value: Cell | readonly Cell[]): readonly Styled[] {
  return (isList(value) ? value : [value]).map(styled);
}

function isList(value: Cell | readonly Cell[]): value is readonly Cell[] {
  return Array.isArray(value);
}
