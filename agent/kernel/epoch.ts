/** The epoch: identifies this network namespace, from its creation to its end. */
import { readFile } from "node:fs/promises";
import { GatewayError } from "../../lib/model/errors.ts";
import { close, errnoName, getsockopt, socket } from "./libc.ts";

/**
 * Identifies the network namespace of this process: `"3f2a91c0-4097"`, from the boot id and the namespace cookie. The
 * kernel never reuses a cookie within a boot (unlike inode numbers of namespaces).
 *
 * @throws GatewayError `unreadable` on Linux before 5.14, which has no cookie
 */
export async function readEpoch(): Promise<string> {
  const bootId = await readBootId();
  return `${bootId.slice(0, 8)}-${readNetnsCookie()}`;
}

/** The random id of this boot. */
export async function readBootId(): Promise<string> {
  const text = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch((cause) => {
    throw new GatewayError("unreadable", "cannot read the boot id", { cause });
  });
  return text.trim();
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

function readNetnsCookie(): bigint {
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd < 0) throw new GatewayError("unreadable", `socket: ${errnoName(-fd)}`);
  try {
    const cookie = new Uint8Array(8);
    const result = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, Uint8Array.of(8, 0, 0, 0));
    if (result < 0) {
      const cause = `no namespace cookie (needs Linux 5.14 or later): ${errnoName(-result)}`;
      throw new GatewayError("unreadable", cause);
    }
    return new DataView(cookie.buffer).getBigUint64(0, true);
  } finally {
    close(fd);
  }
}
