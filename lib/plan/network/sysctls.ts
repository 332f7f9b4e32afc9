/** Plans the sysctls that the gateway depends on. */

import type { Change } from "../../model/change.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork, SysctlKey } from "../../model/observed.ts";
import { type Program, ruledEips } from "../../model/program.ts";

export interface SysctlStep {
  readonly key: SysctlKey;
  readonly value: number;
}

/**
 * Forwarding on the gateway's interfaces, and promote_secondaries where EIPs live: without it the kernel
 * deletes an address together with its subnet's other ones.
 *
 * Forwarding is judged by interface, as the kernel does. Writing `ip_forward` sets them all and those to come; where it
 * cannot be written, the interfaces' own values do, and `ip_forward` is then not asked for again.
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

/** True where every interface of the gateway that is there forwards. */
export function isForwarding(program: Program, observed: ObservedNetwork): boolean {
  const { sysctls } = program.family;
  return gatewayInterfaces(program, observed).every(
    (name) => observed.sysctls.get(sysctls.ofDevice(name, "forwarding")) === 1,
  );
}

/**
 * The interfaces with EIPs on which the kernel does not answer ARP for every address of its own (arp_ignore at
 * 1 or above, there or for all): EIPs bound by route would not be found from outside.
 */
export function arpIgnoring(program: Program, observed: ObservedNetwork): readonly InterfaceName[] {
  const { sysctls } = program.family;
  const valueAt = (name: string) => observed.sysctls.get(sysctls.ofDevice(name, "arp_ignore")) ?? 0;
  return eipInterfaces(program, observed).filter((name) => Math.max(valueAt("all"), valueAt(name)) > 0);
}

/** The step for people, in the words of `sysctl`. */
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
  return new Set([program.externalInterface, ...ruledEips(program).map((eip) => eip.interface)]);
}

function linksAmong(observed: ObservedNetwork, names: ReadonlySet<InterfaceName>): readonly InterfaceName[] {
  return observed.links.map((link) => link.name).filter((name) => names.has(name));
}
