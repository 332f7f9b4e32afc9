/** Behind which interface a host is: what routes say can be the very fault, so addresses and objects go before them. */
import { type Ip, prefixLengthOf } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import { mainTable } from "../plan/network/routes.ts";
import type { World } from "./world.ts";

export function interfaceOf(address: Ip, world: World): InterfaceName {
  return (
    connectedTo(address, world) ??
    routedTo(address, world) ??
    namedAs(address, world) ??
    world.program.externalInterface
  );
}

/** Where it has to be, whatever routes say: by the gateway's own subnets, and by objects. `undefined`: anywhere. */
export function homeOf(address: Ip, world: World): InterfaceName | undefined {
  return connectedTo(address, world) ?? namedAs(address, world);
}

/** The interface in whose subnet the address is. */
export function connectedTo(address: Ip, { subnets, program }: World): InterfaceName | undefined {
  return subnets.find(({ cidr }) => program.family.contains(cidr, address))?.interface;
}

/** By the longest route that is no default route and leads somewhere. */
function routedTo(address: Ip, { network, program }: World): InterfaceName | undefined {
  const { family } = program;
  let best: { readonly name: InterfaceName; readonly length: number } | undefined;
  for (const { table, type, destination, interface: name } of network.routes) {
    if (table !== mainTable || type !== "unicast" || name === undefined) continue;
    const length = prefixLengthOf(destination);
    if (
      length >= family.widestNetwork &&
      length > (best?.length ?? 0) &&
      family.contains(destination, address)
    )
      best = { name, length };
  }
  return best?.name;
}

function namedAs(address: Ip, { desired, program }: World): InterfaceName | undefined {
  const { vpcInterface, family } = program;
  for (const { spec } of desired.fips.values()) if (spec.internalIp === address) return vpcInterface;
  for (const { spec } of desired.dnats.values())
    if (spec.internalIp === address || spec.backends?.some(({ ip }) => ip === address)) return vpcInterface;
  for (const { spec } of desired.routes.values())
    if (spec.interface !== "external" && family.contains(spec.destination, address)) return vpcInterface;
  for (const { spec } of desired.snats.values()) {
    const isWide = spec.internalCIDR.endsWith("/0");
    if (!isWide && family.contains(spec.internalCIDR, address)) return vpcInterface;
  }
  return undefined;
}
