/** What an obstruction is: a fault that comes from outside of the agent, as commands that a person would type. */
import type { HostName } from "../support/lab.ts";

/** The flows that each row is checked with: in and out through the FIP of pod1, the SNAT of pod2, the DNAT to pod2. */
export const flowNames = ["fip in", "fip out", "snat", "dnat"] as const;
export type FlowName = (typeof flowNames)[number];

/** The namespace of a command. `wire` has the bridges. */
type Place = HostName | "wire";
/** A shell line, run in the gateway unless another place is given. */
export type Command = string | { readonly at: Place; readonly line: string };

/** A permanent ARP entry: an ARP request by the gateway would show its MAC to the outside host. */
export const knowOutside =
  "mac=$(ip neigh show 203.0.113.1 dev net1 | grep -o '[0-9a-f:]\\{17\\}'); ip neigh replace 203.0.113.1 dev net1 lladdr $mac nud permanent";
export const forgetOutside = "ip neigh del 203.0.113.1 dev net1";
/** Undoes {@link deafToAnnouncements} too. */
export const hearAgain: readonly Command[] = [
  forgetOutside,
  { at: "outside", line: "nft delete table arp deaf" },
];

/** The same for the pods, which then have to ask for the gateway. */
export const knowPods: readonly Command[] = [
  "for pod in 10.0.1.5 10.0.1.6; do ping -qc1 -w5 $pod >/dev/null; ip neigh replace $pod dev eth0 lladdr $(ip neigh show $pod dev eth0 | grep -o '[0-9a-f:]\\{17\\}') nud permanent; done",
];
/** They do not learn it from ARP requests of the gateway, which it also sends. */
export const podsForget: readonly Command[] = (["pod1", "pod2"] as const).flatMap((at) =>
  [
    "nft add table arp deaf",
    "nft add chain arp deaf in '{ type filter hook input priority 0; }'",
    "nft add rule arp deaf in arp operation request drop",
    "ip neigh flush dev eth0",
  ].map((line) => ({ at, line })),
);
export const forgetPods: readonly Command[] = [
  "for pod in 10.0.1.5 10.0.1.6; do ip neigh del $pod dev eth0; done",
  { at: "pod1", line: "nft delete table arp deaf" },
  { at: "pod2", line: "nft delete table arp deaf" },
];

/**
 * The outside host believes no announcement. The agent may still announce EIPs of an earlier row, which would answer the
 * host's ARP requests.
 */
export const deafToAnnouncements = deafToAnnouncementsOf("203.0.113.10-203.0.113.11");

/** The same for some addresses. */
export function deafToAnnouncementsOf(addresses: string): readonly Command[] {
  return [
    "add table arp deaf",
    "add chain arp deaf in { type filter hook input priority 0; }",
    `add rule arp deaf in arp saddr ip ${addresses} drop`,
  ].map((command) => ({ at: "outside", line: `nft '${command}'` }));
}

export interface Obstruction {
  readonly what: string;
  readonly commands: readonly Command[];
  readonly undo: readonly Command[];
  /** False if no kernel event reports the fault: then the test requests a pass. */
  readonly hasEvent: boolean;
  /** Flows that do not work. Absent: the agent repairs the fault, or it stops nothing. */
  readonly dead?: readonly FlowName[];
  readonly notReady?: readonly string[];
  /** In alphabetical order. */
  readonly degraded?: readonly string[];
  /** What conditions or `degraded` must contain. */
  readonly cause?: RegExp;
}

export const fip = "fips/pod1";
export const snat = "snats/all";
export const dnat = "dnats/web";
export const users = [fip, snat, dnat];
export const eips = ["eips/eip-10", "eips/eip-11"];
export const everything = [...eips, ...users];
