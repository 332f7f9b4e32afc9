/** The bare tools for row 16: each change is one transaction. */
import type { Command } from "./bare.ts";
import { type DataplaneName, iptablesOf } from "./dataplanes.ts";
import { eipAddress } from "./scenario.ts";

/** A DNAT with backends. */
export interface Service {
  readonly name: string;
  readonly eipNumber: number;
  readonly port: number;
  readonly backends: readonly string[];
}

/** An SNAT. */
export interface Source {
  readonly name: string;
  readonly eipNumber: number;
  readonly cidr: string;
  readonly prefixLength: number;
}

export interface Crowd<T> {
  /** `undefined`: nothing is there, not even tables and chains. */
  readonly from: readonly T[] | undefined;
  readonly to: readonly T[];
}

/** The table of backends, by `nft -f`. */
export function bareBackends({ from, to }: Crowd<Service>): Command {
  const lines = from === undefined ? [...backendsDefinition] : [];
  const added = to.filter((one) => !from?.includes(one));
  const names = new Map(to.map((one) => [one.name, one]));
  for (const one of from ?? []) {
    if (names.has(one.name)) continue;
    lines.push(
      `delete element ip kube-ovn dnat_backends { ${keyOf(one)} }`,
      `flush chain ip kube-ovn ${one.name}`,
      `delete chain ip kube-ovn ${one.name}`,
    );
  }
  const before = new Set(from?.map(({ name }) => name));
  for (const one of added) {
    const map = one.backends.map((ip, index) => `${index} : ${ip} . 80`).join(", ");
    const isNew = !before.has(one.name);
    lines.push(
      `${isNew ? "add" : "flush"} chain ip kube-ovn ${one.name}`,
      `add rule ip kube-ovn ${one.name} meta l4proto tcp dnat ip to numgen random mod ${one.backends.length} map { ${map} }`,
    );
    if (isNew) lines.push(`add element ip kube-ovn dnat_backends { ${keyOf(one)} : goto ${one.name} }`);
  }
  return { argv: ["nft", "-f", "-"], stdin: `${lines.join("\n")}\n` };
}

const backendsDefinition = [
  "add table ip kube-ovn",
  "add map ip kube-ovn dnat_backends { type ipv4_addr . inet_proto . inet_service : verdict; }",
  "add chain ip kube-ovn prerouting { type nat hook prerouting priority -99; }",
  "add rule ip kube-ovn prerouting ip daddr . meta l4proto . th dport vmap @dnat_backends",
];

function keyOf({ eipNumber, port }: Service): string {
  return `${eipAddress(eipNumber)} . tcp . ${port}`;
}

/** SHARED_SNAT, the longest prefix first, by `iptables-restore`. */
export function bareSnats(dataplane: DataplaneName, { from, to }: Crowd<Source>): Command {
  const lines = ["*nat"];
  const isWhole = from === undefined || Math.abs(from.length - to.length) > 1;
  if (isWhole) lines.push(":SHARED_SNAT - [0:0]", ...byPrefix(to).map((one) => `-A ${ruleOf(one)}`));
  else {
    lines.push(...from.filter((one) => !to.includes(one)).map((one) => `-D ${ruleOf(one)}`));
    lines.push(...to.filter((one) => !from.includes(one)).map((one) => `-I ${ruleOf(one)}`));
  }
  lines.push("COMMIT", "");
  return {
    argv: [`${iptablesOf(dataplane)}-restore`, "--noflush", "--wait", "5"],
    stdin: lines.join("\n"),
  };
}

function byPrefix(sources: readonly Source[]): readonly Source[] {
  return sources.toSorted((one, other) => other.prefixLength - one.prefixLength);
}

function ruleOf({ cidr, eipNumber }: Source): string {
  return `SHARED_SNAT -s ${cidr} -o net1 -j SNAT --to-source ${eipAddress(eipNumber)} --random-fully`;
}
