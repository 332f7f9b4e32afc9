/** Why a gateway is degraded. docs/api.md explains each reason and its remedy; a test compares the two. */

/** Other programs alert on these names, so they must not change. */
export const degradedReasons = [
  "StateCorrupt",
  "StateTooNew",
  "StateFromNewerVersion",
  "StorageUnavailable",
  "MixedVariants",
  "PassFailing",
  "NotVerified",
  "NotAdopted",
  "ImportIncomplete",
  "GateClosed",
  "UntranslatedForwarded",
  "ForwardingOff",
  "InterfaceMissing",
  "InterfaceDown",
  "MtuTooSmall",
  "RouteConflict",
  "NextHopUnreachable",
  "ForeignRule",
  "ArpIgnored",
  "ReversePathFilter",
  "FlowTimeoutZero",
  "FlowTableFull",
  "NoOwnAddress",
  "AddressConflict",
  "Quarantined",
  "Fighting",
  "KernelUnreadable",
  "StepsFailing",
  "FlowsShadowed",
  "TokenFileInvalid",
  "ClientListInvalid",
  "ApiUnguarded",
  "CertificatesInvalid",
  "AuditLogFailing",
] as const;

export interface Degradation {
  readonly reason: (typeof degradedReasons)[number];
  readonly message: string;
}
