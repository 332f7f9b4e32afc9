/**
 * What helps against each reason of `degraded` and of objects that are not Ready, and the check of the doctor that reports
 * it. A reason without a line does not compile; docs/api.md has the same texts, and a test compares the two.
 */
import type { Degradation } from "../model/degradation.ts";
import type { Reason } from "../model/status.ts";

/** In the order in which they are reported. Stable words; docs/api.md explains them. */
export const checkNames = [
  "interfaces",
  "forwarding",
  "routes",
  "next-hops",
  "eips",
  "foreign-rules",
  "rules",
  "gate",
  "drift",
  "flows",
  "ports",
  "conntrack",
  "clock",
  "disk",
  "state",
  "tools",
  "access",
] as const;
export type CheckName = (typeof checkNames)[number];

export interface Remedy {
  readonly check: CheckName;
  /** `uncertain`: packets may pass all the same, or it may end by itself. */
  readonly result: "failed" | "uncertain";
  readonly remedy: string;
  /** The same in one line for a person at a terminal, with the command of natgwctl. Absent: it says enough as it is. */
  readonly atTerminal?: string;
}

function failed(check: CheckName, remedy: string, atTerminal?: string): Remedy {
  return { check, result: "failed", remedy, ...(atTerminal !== undefined && { atTerminal }) };
}

function uncertain(check: CheckName, remedy: string, atTerminal?: string): Remedy {
  return { check, result: "uncertain", remedy, ...(atTerminal !== undefined && { atTerminal }) };
}

const correctsDisk = "free disk space or correct the permissions of the state directory";
const triesAgain = "repair what the message names; natgwctl repair tries again";

export const degradedRemedies: Readonly<Record<Degradation["reason"], Remedy>> = {
  StateCorrupt: failed("state", "PUT the full set", "send the full set again: natgwctl apply -f FILE"),
  StateTooNew: failed(
    "state",
    "use the newer version; or, to start with an empty state, move state.journal out of the state directory and restart",
    "run the newer version of the agent",
  ),
  StateFromNewerVersion: uncertain("state", "use the newer version", "run the newer version of the agent"),
  StorageUnavailable: failed("disk", "free disk space, correct permissions", correctsDisk),
  MixedVariants: failed(
    "rules",
    "remove the owned rules of one variant",
    "remove the owned rules of one variant of iptables",
  ),
  PassFailing: failed("rules", "repair what the message names; the agent retries by itself", triesAgain),
  NotVerified: uncertain("rules", "wait", "wait: the first full pass is running"),
  NotAdopted: failed(
    "state",
    "PUT the full set: PUT /v1/desired; or take over what is there: POST /v1/import?from=kernel&adopt=true",
    "send the full set, or take over what is there: natgwctl import --from-kernel",
  ),
  ImportIncomplete: uncertain(
    "state",
    "write what is missing; the reason goes when a full set is accepted or the agent restarts",
    "write what is missing; natgwctl import --from-kernel --dry-run lists it",
  ),
  GateClosed: failed(
    "gate",
    "PUT the full set: single writes alone do not open the gate of a new namespace, except 5 s after the last one that follows Kube-OVN's init; see the other reasons in the list",
    "send the full set: natgwctl apply -f FILE",
  ),
  UntranslatedForwarded: uncertain("gate", "use a kernel with nf_tables"),
  ForwardingOff: failed("forwarding", "allow the pod to set it", "allow the pod to set ip_forward"),
  InterfaceMissing: failed("interfaces", "add the interface; repair the link", "add the interface"),
  InterfaceDown: failed("interfaces", "add the interface; repair the link", "repair the link"),
  RouteConflict: uncertain("routes", "change the route, rule or address that the message names"),
  NextHopUnreachable: failed("next-hops", "start the router, or set another defaultGateway or via"),
  ForeignRule: failed("foreign-rules", "change the rules and policies that the message names"),
  MtuTooSmall: failed("interfaces", "ip link set net1 mtu 1500", "ip link set INTERFACE mtu 1500"),
  ArpIgnored: failed(
    "eips",
    "set arp_ignore=0; ip link set net1 arp on; add the address again",
    "set arp_ignore=0 on the interface; ip link set INTERFACE arp on; add the address again",
  ),
  ReversePathFilter: failed("routes", "set rp_filter=2", "set rp_filter=2 on the interface"),
  FlowTimeoutZero: failed("flows", "set the timeouts that the message names to their defaults"),
  FlowTableFull: failed(
    "conntrack",
    "raise net.netfilter.nf_conntrack_max on the node, or find who opens so many flows",
    "raise nf_conntrack_max on the node, or see who opens so many flows: natgwctl top",
  ),
  NoOwnAddress: uncertain(
    "interfaces",
    "give the interface an address of its own",
    "give the interface that the message names an address of its own",
  ),
  AddressConflict: failed("eips", "remove the EIPs from the other host"),
  Quarantined: failed(
    "rules",
    "change the objects, or remove the cause and call POST /v1/reconcile",
    "change the objects, or remove the cause and run natgwctl repair",
  ),
  Fighting: failed("drift", "stop the other program", "stop the other program that undoes the repairs"),
  KernelUnreadable: failed("rules", "repair what the message names", triesAgain),
  StepsFailing: failed("drift", "repair what the message names", triesAgain),
  FlowsShadowed: uncertain(
    "flows",
    "find out who sends them",
    "find out who sends these flows: natgwctl connections EIP",
  ),
  AuditLogFailing: failed("disk", "free disk space, correct permissions", correctsDisk),
  TokenFileInvalid: failed("access", "repair the file that NATGW_TOKEN_FILE names"),
  ClientListInvalid: failed("access", "repair the file that NATGW_TLS_ALLOW_FILE names"),
  ApiUnguarded: failed("access", "give the agent NET_ADMIN, or repair what the message names"),
  CertificatesInvalid: failed("access", "repair the files that the message names"),
};

/** For a person at a terminal, in one line. `undefined` for a reason of a newer agent. */
export function remedyAtTerminal(reason: string): string | undefined {
  if (!Object.hasOwn(degradedRemedies, reason)) return undefined;
  const { remedy, atTerminal = remedy } = degradedRemedies[reason as Degradation["reason"]];
  return atTerminal;
}

/** Of objects. `undefined`: nothing is wrong. */
export const objectRemedies: Readonly<Record<Reason, Remedy | undefined>> = {
  Accepted: undefined,
  Programmed: undefined,
  Ready: undefined,
  Standby: undefined,
  NoBackends: undefined,
  Conflict: failed("rules", "change this object or remove the other"),
  Pending: uncertain("rules", "wait: the next pass runs by itself"),
  Unbound: uncertain("eips", "set bound: true"),
  EipNotFound: failed("rules", "create the Eip"),
  EipNotReady: failed("eips", "look at the Eip"),
  AddressConflict: failed("eips", "remove the EIP from the other host"),
  InterfaceNotFound: failed("interfaces", "add the interface"),
  InterfaceDown: failed("interfaces", "repair the link"),
  KernelUnreadable: failed("rules", "repair what the message names"),
  LeaseExpired: uncertain("rules", "renew it or write the Eip"),
  Quarantined: failed(
    "rules",
    "change the object, or remove the cause and call POST /v1/reconcile; the agent also retries by itself",
    "change the object, or remove the cause and run natgwctl repair",
  ),
  NotSupported: failed("rules", "use a kernel with nf_tables"),
  Shadowed: uncertain("rules", "use another Eip or remove the FIP"),
  NoRoute: failed("routes", "add a Route, or repair the VPC's own routes and rules"),
  ForeignRule: failed("foreign-rules", "change that rule or policy"),
  ForeignRoute: failed("routes", "remove this object"),
  ForwardingOff: failed("forwarding", "allow the pod to set it"),
  FlowsRemain: failed("flows", "repair what the message names"),
};

/** What a check says in the words of a terminal: with commands of natgwctl in place of requests. */
export function withCommands(remedies: string): string {
  return requests.reduce(
    (left, { remedy, atTerminal = "" }) => left.replace(remedy, () => atTerminal),
    remedies,
  );
}

/** Those that name a request; one that another begins with comes after it. */
const requests = [...Object.values(degradedRemedies), ...Object.values(objectRemedies)]
  .filter((one) => one !== undefined)
  .filter(({ remedy, atTerminal }) => atTerminal !== undefined && /\b(?:PUT|POST)\b/.test(remedy))
  .sort((a, b) => b.remedy.length - a.remedy.length);
