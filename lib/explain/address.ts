/** Whether hosts on a link find an address of the gateway. */
import type { Ip } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import { linkFault } from "../plan/reach/links.ts";
import type { ExplainCode } from "./explanation.ts";
import { eipAt } from "./objects.ts";
import type { World } from "./world.ts";

export interface AddressFault {
  readonly code: ExplainCode;
  readonly detail: string;
  /** False if packets may come all the same. */
  readonly isSure: boolean;
}

/** Why hosts behind an interface do not reach an address that the gateway has to hold there. */
export function addressFault(address: Ip, name: InterfaceName, world: World): AddressFault | undefined {
  const { program, network, routes } = world;
  const link = linkFault(network.links, name);
  if (link !== undefined) return { code: "NoRoute", detail: link.message, isSure: true };
  const eip = eipAt(address, world);
  const known = eip && world.reasonOf(`eips/${eip}`);
  const isConflict = known?.reason === "AddressConflict";
  if (!routes.isLocal(program.family.toValue(address))) {
    const why = known === undefined ? "" : `: ${known.reason}: ${known.message}`;
    const code =
      known?.reason === "AddressConflict" || known?.reason === "Quarantined" ? known.reason : "EipNotReady";
    const detail = `${address} is not held on ${name}, so the gateway answers no ARP request for it${why}`;
    return { code, detail, isSure: true };
  }
  if (isConflict) return { code: "AddressConflict", detail: known.message, isSure: false };
  if (network.links.some((one) => one.name === name && one.isNoArp))
    return { code: "EipNotReady", detail: `ARP is off on ${name}`, isSure: true };
  return arpFault(address, name, world);
}

/** With `arp_ignore` at 3 or above the kernel answers for no address like these, below for those of the interface. */
function arpFault(address: Ip, name: InterfaceName, { program, network }: World): AddressFault | undefined {
  const { sysctls } = program.family;
  const settingOf = (device: string) => network.sysctls.get(sysctls.ofDevice(device, "arp_ignore")) ?? 0;
  const value = Math.max(settingOf("all"), settingOf(name));
  const isAddress = network.addresses.some((one) => one.interface === name && one.address === address);
  if (value === 0 || (value < 3 && isAddress)) return undefined;
  const detail = `arp_ignore=${value} stops ${name} from answering ARP requests for ${address}`;
  return { code: "EipNotReady", detail, isSure: true };
}
