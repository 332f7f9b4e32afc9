/** What helps against each reason for `degraded`, in one line. docs/api.md says more. */
import type { Degradation } from "../../lib/model/degradation.ts";

const remedies: Readonly<Record<Degradation["reason"], string>> = {
  NotVerified: "wait: the first full pass is running",
  NotAdopted: "send the full set, or take over what is there: natgwctl import --from-kernel",
  ImportIncomplete: "write what is missing; natgwctl import --from-kernel --dry-run lists it",
  StateCorrupt: "send the full set again: natgwctl apply -f FILE",
  StateTooNew: "run the newer version of the agent",
  StateFromNewerVersion: "run the newer version of the agent",
  StorageUnavailable: "free disk space or correct the permissions of the state directory",
  MixedVariants: "remove the owned rules of one variant of iptables",
  PassFailing: "repair what the message names; natgwctl repair tries again",
  KernelUnreadable: "repair what the message names; natgwctl repair tries again",
  StepsFailing: "repair what the message names; natgwctl repair tries again",
  GateClosed: "send the full set: natgwctl apply -f FILE",
  UntranslatedForwarded: "use a kernel with nf_tables",
  ForwardingOff: "allow the pod to set ip_forward",
  InterfaceMissing: "add the interface",
  InterfaceDown: "repair the link",
  RouteConflict: "change the route or rule that the message names",
  NextHopUnreachable: "start the router, or set another defaultGateway or via",
  ForeignRule: "change the rules that the message names",
  ArpIgnored: "set arp_ignore=0 on the interface; ip link set INTERFACE arp on",
  ReversePathFilter: "set rp_filter=2 on the interface",
  NoOwnAddress: "give the external interface an address of its own",
  AddressConflict: "remove the EIPs from the other host",
  Quarantined: "change the objects, or remove the cause and run natgwctl repair",
  Fighting: "stop the other program that undoes the repairs",
  FlowsShadowed: "find out who sends these flows: natgwctl connections EIP",
  TokenFileInvalid: "repair the file that NATGW_TOKEN_FILE names",
  ClientListInvalid: "repair the file that NATGW_TLS_ALLOW_FILE names",
  ApiUnguarded: "give the agent NET_ADMIN, or repair what the message names",
  AuditLogFailing: "free disk space or correct the permissions of the state directory",
  CertificatesInvalid: "repair the files that the message names",
};

/** `undefined` for a reason of a newer agent. */
export function remedyOf(reason: string): string | undefined {
  return Object.hasOwn(remedies, reason) ? remedies[reason as Degradation["reason"]] : undefined;
}
