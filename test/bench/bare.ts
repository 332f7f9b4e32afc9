/**
 * Loads the agent's state with the bare tools: the baseline for the agent. The rules are those of a gateway, one text
 * per transaction. Nothing is verified or stored.
 */
import { type DataplaneName, iptablesOf } from "./dataplanes.ts";
import {
  dnatsOf,
  eipAddress,
  eipNumbers,
  eipPrefixLength,
  type Fip,
  fipsOf,
  type Scenario,
  snatsOf,
} from "./scenario.ts";

export interface Command {
  readonly argv: readonly string[];
  readonly stdin?: string;
}

/** `ip -batch`, and one `nft -f` or `iptables-restore` per table. */
export function loadCommands(dataplane: DataplaneName, scenario: Scenario): readonly Command[] {
  const addresses = eipNumbers(scenario).map(
    (number) => `address add ${eipAddress(number)}/${eipPrefixLength} dev net1\n`,
  );
  const rules =
    iptablesOf(dataplane) === undefined
      ? { argv: ["nft", "-f", "-"], stdin: nftTable(scenario) }
      : { argv: restoreOf(dataplane), stdin: iptablesTables(scenario) };
  return [rules, { argv: ["ip", "-batch", "-"], stdin: addresses.join("") }];
}

/** One dump of everything that {@link loadCommands} loads. */
export function dumpCommands(dataplane: DataplaneName): readonly Command[] {
  const iptables = iptablesOf(dataplane);
  const rules = iptables === undefined ? ["nft", "list", "table", "ip", "natgw"] : [`${iptables}-save`];
  const binding =
    dataplane === "nftables-route"
      ? ["ip", "-4", "route", "show", "table", "local"]
      : ["ip", "-4", "address", "show"];
  return [{ argv: rules }, { argv: binding }];
}

/** One FIP gets another internal IP. */
export function changeCommand(dataplane: DataplaneName, from: Fip, to: Fip, eip: string): Command {
  if (iptablesOf(dataplane) === undefined) {
    const lines = [
      `delete element ip natgw fip_in { ${eip} }`,
      `add element ip natgw fip_in { ${eip} : ${to.internalIp} }`,
      `delete element ip natgw fip_out { ${from.internalIp} }`,
      `add element ip natgw fip_out { ${to.internalIp} : ${eip} }`,
    ];
    return { argv: ["nft", "-f", "-"], stdin: text(lines) };
  }
  const lines = [
    "*nat",
    ...fipRules(from, eip).map((rule) => `-D ${rule}`),
    ...fipRules(to, eip).map((rule) => `-A ${rule}`),
    "COMMIT",
  ];
  return { argv: restoreOf(dataplane), stdin: text(lines) };
}

/** A dump of only the chains that {@link changeCommand} changes. */
export function touchedDumps(dataplane: DataplaneName): readonly Command[] {
  const iptables = iptablesOf(dataplane);
  if (iptables === undefined) return [];
  return ["EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT"].map((chain) => ({
    argv: [iptables, "-t", "nat", "-S", chain],
  }));
}

function restoreOf(dataplane: DataplaneName): readonly string[] {
  return [`${iptablesOf(dataplane)}-restore`, "--noflush", "--wait", "5"];
}

const fixedChains = [
  ...["DNAT_FILTER", "EXCLUSIVE_DNAT", "SHARED_DNAT"],
  ...["SNAT_FILTER", "EXCLUSIVE_SNAT", "SHARED_SNAT", "HAIRPIN_SNAT"],
];

function iptablesTables(scenario: Scenario): string {
  const eips = eipNumbers(scenario).map(eipAddress);
  return text([
    "*mangle",
    ":VPC_MARK - [0:0]",
    "-A PREROUTING -j VPC_MARK",
    "-A VPC_MARK -i eth0 -j MARK --set-xmark 0x1/0x1",
    "COMMIT",
    "*nat",
    ...fixedChains.map((chain) => `:${chain} - [0:0]`),
    "-A PREROUTING -j DNAT_FILTER",
    "-A POSTROUTING -j SNAT_FILTER",
    "-A DNAT_FILTER -j EXCLUSIVE_DNAT",
    "-A DNAT_FILTER -j SHARED_DNAT",
    "-A SNAT_FILTER -j EXCLUSIVE_SNAT",
    "-A SNAT_FILTER -j SHARED_SNAT",
    "-A SNAT_FILTER -j HAIRPIN_SNAT",
    ...fipsOf(scenario).flatMap((fip, index) =>
      fipRules(fip, eipAddress(index + 1)).map((rule) => `-A ${rule}`),
    ),
    ...dnatsOf(scenario).map(
      ({ eipNumber, externalPort, internalIp }) =>
        `-A SHARED_DNAT -d ${eipAddress(eipNumber)}/32 -p tcp -m tcp --dport ${externalPort} -j DNAT --to-destination ${internalIp}:80`,
    ),
    ...snatsOf(scenario).map(
      ({ eipNumber, internalCIDR }) =>
        `-A SHARED_SNAT -s ${internalCIDR} -o net1 -j SNAT --to-source ${eipAddress(eipNumber)} --random-fully`,
    ),
    ...eips.map(
      (eip) =>
        `-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst ${eip} -j SNAT --to-source ${eip} --random-fully`,
    ),
    "COMMIT",
  ]);
}

function fipRules({ internalIp }: Fip, eip: string): readonly string[] {
  return [
    `EXCLUSIVE_DNAT -d ${eip}/32 -j DNAT --to-destination ${internalIp}`,
    `EXCLUSIVE_SNAT -s ${internalIp}/32 -j SNAT --to-source ${eip}`,
  ];
}

function nftTable(scenario: Scenario): string {
  const fips = fipsOf(scenario).map(({ internalIp }, index) => ({ eip: eipAddress(index + 1), internalIp }));
  return text([
    "table ip natgw {",
    map(
      "fip_in",
      "ipv4_addr : ipv4_addr",
      fips.map(({ eip, internalIp }) => `${eip} : ${internalIp}`),
    ),
    map(
      "fip_out",
      "ipv4_addr : ipv4_addr",
      fips.map(({ eip, internalIp }) => `${internalIp} : ${eip}`),
    ),
    map(
      "dnat_1",
      "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
      dnatsOf(scenario).map(
        ({ eipNumber, externalPort, internalIp }) =>
          `${eipAddress(eipNumber)} . tcp . ${externalPort} : ${internalIp} . 80`,
      ),
    ),
    map(
      "snat_r",
      "ipv4_addr . ipv4_addr : ipv4_addr",
      snatsOf(scenario).map(
        ({ eipNumber, internalCIDR }) => `${internalCIDR} . 0.0.0.0-0.0.0.15 : ${eipAddress(eipNumber)}`,
      ),
      "interval",
    ),
    map(
      "hairpin",
      "ipv4_addr : ipv4_addr",
      eipNumbers(scenario)
        .map(eipAddress)
        .map((eip) => `${eip} : ${eip}`),
    ),
    "chain vpc_mark { type filter hook prerouting priority mangle;",
    '  iifname "eth0" meta mark set meta mark | 0x1',
    "}",
    "chain pre { type nat hook prerouting priority dstnat;",
    "  dnat ip to ip daddr map @fip_in",
    "  dnat ip to ip daddr . meta l4proto . th dport map @dnat_1",
    "}",
    "chain post { type nat hook postrouting priority srcnat;",
    "  snat ip to ip saddr map @fip_out",
    '  oifname "net1" snat ip to ip saddr . (ip saddr & 0.0.0.15) map @snat_r fully-random',
    '  oifname "eth0" meta mark & 0x1 == 0x1 ct status dnat snat ip to ct original ip daddr map @hairpin fully-random',
    "}",
    "}",
  ]);
}

function map(name: string, type: string, elements: readonly string[], flags?: string): string {
  const flagLine = flags === undefined ? "" : `flags ${flags}; `;
  const content = elements.length === 0 ? "" : `elements = { ${elements.join(",\n")} }`;
  return `map ${name} { type ${type}; ${flagLine}counter; ${content}\n}`;
}

function text(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
