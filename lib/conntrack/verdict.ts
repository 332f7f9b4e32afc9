/**
 * What the program says about one half of a flow's translation, destination or source.
 *
 * - `permitted`: an object translates it this way, even if a new flow would get another translation today;
 * - `contradicted`: a rule covers it, but no object translates it this way;
 * - `unruled`: no desired object covers it.
 */
export type FlowVerdict = "permitted" | "contradicted" | "unruled";
