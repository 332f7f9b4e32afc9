/** The addresses of all interfaces of this namespace. `os.networkInterfaces()` leaves out interfaces without a carrier. */
import { families } from "../../../lib/model/families.ts";
import { decodeAnyAddress, dumpAnyAddresses, newAddress } from "../../../lib/netlink/rtnetlink-addresses.ts";
import { decodeLink, dumpLinks, newLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { NETLINK_ROUTE, openNetlink } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";

/** By the interface's name; IPv4 and IPv6. */
export type InterfaceAddresses = Readonly<Record<string, readonly string[]>>;

export async function readInterfaceAddresses(): Promise<InterfaceAddresses> {
  const netlink = openNetlink(NETLINK_ROUTE);
  const signal = AbortSignal.timeout(timeLimitMs);
  try {
    const nameOf = (view: DataView, start: number, end: number) =>
      decodeLink(view, start, end, families[0])?.link;
    const links = await readDump(netlink, dumpLinks(), newLink, nameOf, signal);
    const addresses = await readDump(netlink, dumpAnyAddresses(), newAddress, decodeAnyAddress, signal);
    const byLink = Map.groupBy(addresses, ({ index }) => index);
    return Object.fromEntries(
      links
        .filter((link) => link !== undefined)
        .map(({ name, index }) => [name, (byLink.get(index) ?? []).map(({ address }) => address)]),
    );
  } finally {
    netlink.close();
  }
}

const timeLimitMs = 10_000;
