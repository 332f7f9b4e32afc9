/**
 * What the program says of one half of a flow's translation, its destination or its source.
 *
 * - `permitted`: some object translates it so, even if a new flow would get another translation today;
 * - `contradicted`: a rule covers it, and no object translates it so;
 * - `unruled`: nothing that is desired says anything about it.
 */
export type Verdict = "permitted" | "contradicted" | "unruled";
