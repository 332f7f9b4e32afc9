/** The rules of iptables that every gateway has, whatever its objects are, as `iptables-save` prints them. */
export function fixedRules(vpcInterface: string): readonly string[] {
  return [
    "nat -A PREROUTING -j DNAT_FILTER",
    "nat -A DNAT_FILTER -j EXCLUSIVE_DNAT",
    "nat -A DNAT_FILTER -j SHARED_DNAT",
    "nat -A POSTROUTING -j SNAT_FILTER",
    "nat -A SNAT_FILTER -j EXCLUSIVE_SNAT",
    "nat -A SNAT_FILTER -j SHARED_SNAT",
    "nat -A SNAT_FILTER -j HAIRPIN_SNAT",
    "mangle -A PREROUTING -j VPC_MARK",
    `mangle -A VPC_MARK -i ${vpcInterface} -j MARK --set-xmark 0x1/0x1`,
  ];
}
