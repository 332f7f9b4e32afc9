/** The names of the tables of guard and gate, all of family ip. */

export const barrierTables = { guard: "natgw_guard", gate: "natgw_gate" } as const;

export type BarrierName = keyof typeof barrierTables;
export const barrierNames = Object.keys(barrierTables) as readonly BarrierName[];
