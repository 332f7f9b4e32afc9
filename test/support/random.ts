/** Repeatable random choices: `NATGW_SEED` repeats those of an earlier run, but not its timing. */
export const seed = Number(process.env.NATGW_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Mulberry32: small, and the same numbers for the same seed everywhere. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
