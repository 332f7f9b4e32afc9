/** The names of the tables of guard and gates, all of family ip. */

export const barrierTables = {
  guard: "natgw_guard",
  gate: "natgw_gate",
  bfd: "natgw_bfd",
} as const;

export type BarrierName = keyof typeof barrierTables;
export const barrierNames = Object.keys(barrierTables) as readonly BarrierName[];

/** Something for each of the tables. */
export type ByBarrier<T> = { readonly [K in BarrierName]: T };

export function byBarrier<T>(make: (name: BarrierName) => T): ByBarrier<T> {
  return { guard: make("guard"), gate: make("gate"), bfd: make("bfd") };
}
