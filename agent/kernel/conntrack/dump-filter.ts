/** Whether the kernel can look for flows by itself. */

/**
 * True where a filtered dump can be relied on, by the kernel's release (`uname -r`).
 *
 * Kernels before 5.8 do not know filters and give every entry. Those before 5.16 (5.15.6 and 5.10.83, where they were
 * mended) compare the reply's addresses with 0.0.0.0 and give nothing, which would look like a table without such flows
 * (Linux commit ad81d4daf6a3). A kernel that backported the mending is taken for one that did not: that costs time only.
 */
export function filtersDumps(release: string): boolean {
  const [, major = "", minor = ""] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(major) > 5 || (Number(major) === 5 && Number(minor) >= 16);
}
