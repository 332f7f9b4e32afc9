/** The netlink sockets of a network namespace, as its `/proc/net/netlink` lists them. */

export interface NetlinkSocket {
  /** 0: NETLINK_ROUTE, 12: NETLINK_NETFILTER. */
  readonly protocol: number;
  /** By default the pid of its process. */
  readonly port: number;
  /** A mask of multicast groups. */
  readonly groups: number;
  /** Bytes of messages that were not read yet. */
  readonly unread: number;
}

export function netlinkSockets(table: string): readonly NetlinkSocket[] {
  const [, ...lines] = table.trim().split("\n");
  return lines.map((line) => {
    const [, protocol, port, groups = "", unread] = line.trim().split(/\s+/);
    return {
      protocol: Number(protocol),
      port: Number(port),
      groups: Number.parseInt(groups, 16),
      unread: Number(unread),
    };
  });
}
