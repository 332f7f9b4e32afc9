/** What a gateway has whatever its objects are. */
import { fixedRules } from "../fixed-rules.ts";
import type { DataplaneName, Gateway } from "../gateway.ts";

const iptablesRules = [
  ...fixedRules("eth0"),
  // Of another program.
  "nat -A POSTROUTING -j FOREIGN",
  "nat -A FOREIGN -d 192.0.2.77/32 -j RETURN",
];

/** @param backendCounts how many different numbers of backends DNATs with a list have, with and without affinity */
export function fixedLines(dataplane: DataplaneName, backendCounts: number): readonly string[] {
  if (dataplane !== "nftables") return iptablesRules;
  return [
    "chain vpc_mark prerouting -150 of 1 rules",
    `chain pre prerouting -100 of ${2 + backendCounts} rules`,
    "chain post postrouting 100 of 4 rules",
  ];
}

/** The EIPs that the guard protects. */
export async function guardedEips({ lab }: Gateway): Promise<readonly string[]> {
  const text = await lab.exec("gw", ["nft", "--stateless", "list", "table", "ip", "natgw_guard"]);
  return [...text.matchAll(/203\.0\.113\.\d+/g)].map(([ip]) => ip);
}
