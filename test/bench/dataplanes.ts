/** What the agent can be told to program, and which bare tools do the same. */
export const dataplaneNames = ["iptables-nft", "iptables-legacy", "nftables", "nftables-route"] as const;
export type DataplaneName = (typeof dataplaneNames)[number];

/** The settings that choose it. `nftables-route` binds EIPs by route instead of by address. */
export const settingsOf: Readonly<Record<DataplaneName, Readonly<Record<string, string>>>> = {
  "iptables-nft": { NATGW_IPTABLES_VARIANT: "nft" },
  "iptables-legacy": { NATGW_IPTABLES_VARIANT: "legacy" },
  nftables: { NATGW_DATAPLANE: "nftables" },
  "nftables-route": { NATGW_DATAPLANE: "nftables", NATGW_EIP_BINDING: "route" },
};

/** `iptables-nft`, or `undefined` where nft is the tool. */
export function iptablesOf(dataplane: DataplaneName): "iptables-nft" | "iptables-legacy" | undefined {
  return dataplane === "iptables-nft" || dataplane === "iptables-legacy" ? dataplane : undefined;
}
