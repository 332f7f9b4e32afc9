/** Source ports that an EIP has towards one destination. */

/**
 * How many the kernel chooses from: it stays in the client's range (`get_unique_tuple` of nf_nat_core.c): below 512, below
 * 1024, or all others.
 */
export function capacityOf(sourcePort: number | undefined): number {
  if (sourcePort === undefined || sourcePort >= 1_024) return 65_535 - 1_024 + 1;
  return sourcePort < 512 ? 511 : 1_023 - 600 + 1;
}
