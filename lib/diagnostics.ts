/** What a report of a fault needs of the kernel: what prints it. Reads only. */

/** The commands of each part. A tool that is not there is named in the text. */
export const diagnosticCommands = {
  rules: [
    ["nft", "list", "ruleset"],
    ["iptables-nft-save", "-c"],
    // It creates no tables, as `iptables-legacy -S` would.
    ["iptables-legacy-save", "-c"],
  ],
  links: [["ip", "-s", "-d", "link"]],
  addresses: [["ip", "-d", "address"]],
  routes: [
    ["ip", "rule"],
    ["ip", "-d", "route", "show", "table", "all"],
  ],
  neighbours: [["ip", "-s", "neighbour"]],
  qos: [["tc", "-s", "-d", "qdisc"]],
  sysctls: [["ip", "netconf"]],
  conntrack: [
    ["conntrack", "-S"],
    ["conntrack", "-C"],
  ],
} as const satisfies Readonly<Record<string, readonly (readonly string[])[]>>;

export type KernelPart = keyof typeof diagnosticCommands;
export const kernelParts = Object.keys(diagnosticCommands) as readonly KernelPart[];

/** Numbers that no tool prints. */
export const diagnosticFiles: Partial<Readonly<Record<KernelPart, readonly string[]>>> = {
  conntrack: ["max", "count", "buckets"].map((name) => `/proc/sys/net/netfilter/nf_conntrack_${name}`),
};

/** What a command printed or a file holds, or why that is not known. */
export type Reading = { readonly heading: string } & (
  | { readonly text: string }
  | { readonly failure: string }
);

/** A part as text, with a heading for each command and file. */
export function diagnosticText(readings: readonly Reading[]): string {
  return readings
    .map((one) => `# ${one.heading}\n${"text" in one ? one.text : `# failed: ${one.failure}\n`}`)
    .join("\n");
}

/** Of one command. */
export const maxDiagnosticBytes = 32 * 1024 * 1024;
