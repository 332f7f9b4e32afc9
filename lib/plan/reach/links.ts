/** Faults of the link itself that stop packets on an interface. */
import type { Degradation } from "../../model/degradation.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedLink } from "../../model/observed.ts";

export interface LinkFault {
  readonly reason: "InterfaceNotFound" | "InterfaceDown";
  readonly message: string;
}

/** `undefined` if there is no fault. */
export function linkFault(links: readonly ObservedLink[], name: InterfaceName): LinkFault | undefined {
  const link = links.find((one) => one.name === name);
  if (link === undefined) return { reason: "InterfaceNotFound", message: `interface ${name} does not exist` };
  const message = linkFaultText(link, links);
  return message === undefined ? undefined : { reason: "InterfaceDown", message };
}

function linkFaultText(
  { name, index, isUp, hasCarrier, masterIndex }: ObservedLink,
  links: readonly ObservedLink[],
) {
  if (!isUp) return `${name} is down`;
  if (!hasCarrier) return `${name} has no carrier`;
  const taker = links.find(({ takesFrom }) => takesFrom === index);
  if (taker !== undefined) return `${name} gives its packets to ${taker.name}`;
  if (masterIndex === undefined) return undefined;
  const master = links.find(({ index }) => index === masterIndex)?.name ?? `interface ${masterIndex}`;
  return `${name} is a port of ${master}, which receives its packets`;
}

/** Every IPv4 host takes packets of this size (RFC 791), and few send smaller ones when told to. */
const smallestMtu = 576;

function mtuText({ name, mtu }: ObservedLink): string {
  return `${name} has MTU ${mtu}: larger packets of connections do not pass`;
}

/** Why interfaces make the gateway degraded. */
export function linkNotices(
  links: readonly ObservedLink[],
  names: Iterable<InterfaceName>,
): readonly Degradation[] {
  const unique = new Set(names);
  const faults = [...unique].map((name) => linkFault(links, name)).filter((one) => one !== undefined);
  const noticeOf = (reason: LinkFault["reason"], as: Degradation["reason"]): readonly Degradation[] => {
    const messages = faults.filter((fault) => fault.reason === reason).map(({ message }) => message);
    return messages.length === 0 ? [] : [{ reason: as, message: messages.join("; ") }];
  };
  const withoutArp = links.filter(({ name, isNoArp }) => isNoArp && unique.has(name)).map(({ name }) => name);
  const small = links.filter(({ name, mtu }) => unique.has(name) && mtu !== undefined && mtu < smallestMtu);
  const off = `ARP is off on ${withoutArp.join(" and ")}: the gateway and its neighbours cannot resolve each other`;
  return [
    ...noticeOf("InterfaceNotFound", "InterfaceMissing"),
    ...noticeOf("InterfaceDown", "InterfaceDown"),
    ...(small.length === 0
      ? []
      : [{ reason: "MtuTooSmall" as const, message: small.map(mtuText).join("; ") }]),
    ...(withoutArp.length === 0 ? [] : [{ reason: "ArpIgnored" as const, message: off }]),
  ];
}
