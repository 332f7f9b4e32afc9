/** What keeps packets from an interface, as far as the link itself tells. */
import type { Degradation } from "../../model/degradation.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedLink } from "../../model/observed.ts";

export interface LinkFault {
  readonly reason: "InterfaceNotFound" | "InterfaceDown";
  readonly message: string;
}

/** `undefined` where nothing does. */
export function linkFault(links: readonly ObservedLink[], name: InterfaceName): LinkFault | undefined {
  const link = links.find((one) => one.name === name);
  if (link === undefined) return { reason: "InterfaceNotFound", message: `there is no interface ${name}` };
  const message = wordsFor(link, links);
  return message === undefined ? undefined : { reason: "InterfaceDown", message };
}

function wordsFor({ name, isUp, hasCarrier, masterIndex }: ObservedLink, links: readonly ObservedLink[]) {
  if (!isUp) return `${name} is down`;
  if (!hasCarrier) return `${name} has no carrier`;
  if (masterIndex === undefined) return undefined;
  const master = links.find(({ index }) => index === masterIndex)?.name ?? `interface ${masterIndex}`;
  return `${name} is a port of ${master}, which takes its packets`;
}

/** Why the gateway is degraded by its interfaces. */
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
  const deaf = links.filter(({ name, isNoArp }) => isNoArp && unique.has(name)).map(({ name }) => name);
  const off = `${deaf.join(" and ")} with ARP off: nobody there is found, and nobody finds the gateway`;
  return [
    ...noticeOf("InterfaceNotFound", "InterfaceMissing"),
    ...noticeOf("InterfaceDown", "InterfaceDown"),
    ...(deaf.length === 0 ? [] : [{ reason: "ArpIgnored" as const, message: off }]),
  ];
}
