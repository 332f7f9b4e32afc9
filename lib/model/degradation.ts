/** Why a gateway is degraded. docs/api.md says what each reason means and what helps; a test holds the two together. */

/** Other programs alert on these: a reason keeps its name. */
export const degradedReasons = [
  "StateCorrupt",
  "StateTooNew",
  "StateFromNewerVersion",
  "StorageUnavailable",
  "MixedVariants",
  "PassFailing",
  "NotVerified",
  "NotAdopted",
  "GateClosed",
  "ForwardingOff",
  "InterfaceMissing",
  "InterfaceDown",
  "RouteConflict",
  "NextHopUnreachable",
  "ForeignRule",
  "ArpIgnored",
  "ReversePathFilter",
  "NoOwnAddress",
  "AddressConflict",
  "Quarantined",
  "Fighting",
  "KernelUnreadable",
  "StepsFailing",
  "FlowsShadowed",
  "TokenFileInvalid",
  "CertificatesInvalid",
] as const;

export interface Degradation {
  readonly reason: (typeof degradedReasons)[number];
  readonly message: string;
}
