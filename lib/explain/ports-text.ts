/** What an explanation says of the ports of an EIP. */
import type { Ip } from "../model/ip.ts";
import { capacityOf, type TakenPorts } from "./ports.ts";

/** From here on the answer is yes; below the rest, no. */
export const almostSure = 0.99;

/** `62000 of 64512 ports of 203.0.113.10 are in use, and 1500 by closing connections`. */
export function portsText({ live, closing }: TakenPorts, eip: Ip, sourcePort: number | undefined): string {
  const more = closing.length === 0 ? "" : `, and ${closing.length} by closing connections,`;
  return `${live.length} of ${capacityOf(sourcePort)} ports of ${eip} are in use${more}`;
}

/** Empty if a port is found for sure. */
export function chanceText(chance: number): string {
  if (chance >= almostSure) return "";
  if (chance <= 1 - almostSure) return ": the kernel finds no free one";
  return `: the kernel finds a free one for ${Math.round(chance * 100)} % of new connections, and drops the first packet of the others`;
}
