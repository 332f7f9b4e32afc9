/** The dataplanes of the agent, and the bare tools for each. */
export const dataplaneNames = ["iptables-nft", "iptables-legacy", "nftables", "nftables-route"] as const;
export type DataplaneName = (typeof dataplaneNames)[number];

/** The settings that select it. `nftables-route` binds EIPs by route instead of by address. */
export const settingsOf: Readonly<Record<DataplaneName, Readonly<Record<string, string>>>> = {
  "iptables-nft": { NATGW_IPTABLES_VARIANT: "nft" },
  "iptables-legacy": { NATGW_IPTABLES_VARIANT: "legacy" },
  nftables: { NATGW_DATAPLANE: "nftables" },
  "nftables-route": { NATGW_DATAPLANE: "nftables", NATGW_EIP_BINDING: "route" },
};

/** `iptables-nft`, or `undefined` if the tool is nft. */
export function iptablesOf(dataplane: DataplaneName): "iptables-nft" | "iptables-legacy" | undefined {
  return dataplane === "iptables-nft" || dataplane === "iptables-legacy" ? dataplane : undefined;
}
