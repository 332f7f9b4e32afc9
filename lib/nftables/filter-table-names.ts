/**
 * The names of the tables of guard and gates, all of family ip. The table `set` is empty: that it is there tells an agent that
 * has lost its state that a set was accepted in this namespace, also if it had no object.
 */

export const filterTableNames = {
  guard: "natgw_guard",
  gate: "natgw_gate",
  bfd: "natgw_bfd",
  set: "natgw_set",
} as const;

export type FilterTable = keyof typeof filterTableNames;
export const allFilterTables = Object.keys(filterTableNames) as readonly FilterTable[];

/** Something for each of the tables. */
export type ByFilterTable<T> = { readonly [K in FilterTable]: T };

export function byFilterTable<T>(make: (name: FilterTable) => T): ByFilterTable<T> {
  return { guard: make("guard"), gate: make("gate"), bfd: make("bfd"), set: make("set") };
}
