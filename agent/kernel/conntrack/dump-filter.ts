/** Whether the kernel can filter conntrack dumps. */

/**
 * True if filtered dumps are reliable, by the kernel release (`uname -r`).
 *
 * Kernels before 5.8 ignore filters and return every entry. Kernels before 5.16 (fixed in 5.15.6 and 5.10.83) compare
 * the reply addresses with 0.0.0.0 and return nothing, which looks like a table without such flows (Linux commit
 * ad81d4daf6a3). A kernel with an unknown backport of the fix is treated as unfixed, which only costs time.
 */
export function filtersDumps(release: string): boolean {
  const [, major = "", minor = ""] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(major) > 5 || (Number(major) === 5 && Number(minor) >= 16);
}
