/**
 * The order of steps that the kernel needs. Closing the gate comes first. Rules come before addresses: with an address
 * but no rules, the gateway's own stack resets live connections. Flows are ended after the rules are committed: the old
 * rules would create them again. Addresses are removed last. Opening the gate and removing another dataplane are
 * planned only when everything else is verified.
 */
export const phases = [
  "gate",
  "rules",
  "sysctls",
  "addresses",
  "routes",
  "flows",
  "removals",
  "opening",
  "cleanup",
] as const;
export type Phase = (typeof phases)[number];
