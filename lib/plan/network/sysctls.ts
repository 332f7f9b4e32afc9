/** Plans the sysctls that the gateway needs. */

import type { Change } from "../../model/change.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork, SysctlKey } from "../../model/observed.ts";
import { type Program, ruledEips } from "../../model/program.ts";

export interface SysctlStep {
  readonly key: SysctlKey;
  readonly value: number;
}

/**
 * Forwarding on the gateway's interfaces, and promote_secondaries where EIPs are. Without the latter the kernel deletes
 * other addresses of a subnet together with its primary one.
 *
 * Forwarding is checked per interface, as the kernel does it. Writing `ip_forward` sets all present and future
 * interfaces. If it cannot be written, setting the interfaces is enough, and `ip_forward` is then not written again.
 */
export function planSysctls(program: Program, observed: ObservedNetwork): readonly SysctlStep[] {
  const { sysctls } = program.family;
  const steps: SysctlStep[] = [];
  const want = (key: SysctlKey) => {
    if (observed.sysctls.get(key) !== 1) steps.push({ key, value: 1 });
  };
  if (!isForwarding(program, observed)) {
    want(sysctls.forwarding);
    for (const name of gatewayInterfaces(program, observed)) want(sysctls.ofDevice(name, "forwarding"));
  }
  for (const name of eipInterfaces(program, observed)) want(sysctls.ofDevice(name, "promote_secondaries"));
  return steps;
}

/** True if every existing interface of the gateway forwards. */
export function isForwarding(program: Program, observed: ObservedNetwork): boolean {
  const { sysctls } = program.family;
  return gatewayInterfaces(program, observed).every(
    (name) => observed.sysctls.get(sysctls.ofDevice(name, "forwarding")) === 1,
  );
}

/**
 * The interfaces with EIPs on which the kernel does not answer ARP for all of them (arp_ignore, for the interface or for `all`): at 1
 * and 3 for those that are bound by route, at 2 for those whose subnet is not the asking host's either, at 8 for none.
 */
export function arpIgnoring(program: Program, observed: ObservedNetwork): readonly InterfaceName[] {
  const { sysctls } = program.family;
  const valueAt = (name: string) => observed.sysctls.get(sysctls.ofDevice(name, "arp_ignore")) ?? 0;
  const isByRoute = (name: InterfaceName) => {
    const held = new Set(
      observed.addresses.filter((one) => one.interface === name).map(({ address }) => address),
    );
    return program.eips.some((eip) => eip.interface === name && !held.has(eip.address));
  };
  return eipInterfaces(program, observed).filter((name) => {
    const value = Math.max(valueAt("all"), valueAt(name));
    return (
      value === answersInSubnet || value === answersNone || (answersAddresses.has(value) && isByRoute(name))
    );
  });
}

const answersAddresses: ReadonlySet<number> = new Set([1, 3]);
const answersInSubnet = 2;

/** True if the VPC interface answers no ARP at all, so that pods do not find the gateway. */
export function isArpIgnoredInVpc(
  { vpcInterface, family: { sysctls } }: Program,
  observed: ObservedNetwork,
): boolean {
  const valueAt = (name: string) => observed.sysctls.get(sysctls.ofDevice(name, "arp_ignore")) ?? 0;
  return Math.max(valueAt("all"), valueAt(vpcInterface)) === answersNone;
}

/** The timeouts of conntrack that end flows before their next packet. A kernel without conntrack yet has none. */
export function endingTimeouts({ family }: Program, observed: ObservedNetwork): readonly SysctlKey[] {
  return family.sysctls.flowTimeouts.filter((key) => observed.sysctls.get(key) === 0);
}

/** The kernel treats 4 to 7 and values above 8 like 0. */
const answersNone = 8;

/** The step as a change for people, as a `sysctl` command. */
export function describeSysctlStep(step: SysctlStep): Change {
  return { action: "set", subsystem: "sysctl", text: `sysctl ${step.key}=${step.value}` };
}

function gatewayInterfaces(program: Program, observed: ObservedNetwork): readonly InterfaceName[] {
  return linksAmong(observed, new Set([program.vpcInterface, ...eipInterfaceNames(program)]));
}

function eipInterfaces(program: Program, observed: ObservedNetwork): readonly InterfaceName[] {
  return linksAmong(observed, eipInterfaceNames(program));
}

function eipInterfaceNames(program: Program): ReadonlySet<InterfaceName> {
  const names = new Set([program.externalInterface]);
  for (const eip of ruledEips(program)) names.add(eip.interface);
  return names;
}

function linksAmong(observed: ObservedNetwork, names: ReadonlySet<InterfaceName>): readonly InterfaceName[] {
  return observed.links.map((link) => link.name).filter((name) => names.has(name));
}
