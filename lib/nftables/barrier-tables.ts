/**
 * The names of the tables of guard and gates, all of family ip. The table `set` is empty: that it is there tells an agent that
 * has lost its state that a set was accepted in this namespace, also if it had no object.
 */

export const barrierTables = {
  guard: "natgw_guard",
  gate: "natgw_gate",
  bfd: "natgw_bfd",
  set: "natgw_set",
} as const;

export type BarrierName = keyof typeof barrierTables;
export const barrierNames = Object.keys(barrierTables) as readonly BarrierName[];

/** Something for each of the tables. */
export type ByBarrier<T> = { readonly [K in BarrierName]: T };

export function byBarrier<T>(make: (name: BarrierName) => T): ByBarrier<T> {
  return { guard: make("guard"), gate: make("gate"), bfd: make("bfd"), set: make("set") };
}
