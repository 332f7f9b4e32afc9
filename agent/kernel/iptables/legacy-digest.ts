/**
 * Detects changes of the iptables-legacy tables by asking the kernel directly: a third of the cost of running
 * iptables-save. Entries are compared as bytes, without their counters.
 */
import { hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { GatewayError } from "../../../lib/model/errors.ts";
import { close, errnoName, getsockopt, socket } from "../libc.ts";

/** A digest of all tables of this namespace, see {@link digestTables}. Creates no table. */
export async function readLegacyDigest(): Promise<string | undefined> {
  return digestTables(await legacyTableNames());
}

/**
 * Equal digests mean equal tables. `undefined` if a table was replaced in the meantime.
 * @param names existing tables; asking for any other would create it
 */
export async function digestTables(names: readonly string[]): Promise<string | undefined> {
  // Any IPv4 socket works.
  const fd = names.length === 0 ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (names.length > 0 && fd < 0) throw failed("socket", -fd);
  try {
    const digests: string[] = [];
    for (const name of names) {
      const digest = await digestEntries(fd, name);
      if (digest === undefined) return undefined;
      digests.push(`${name} ${digest}`);
    }
    return digests.join("\n");
  } finally {
    if (fd >= 0) close(fd);
  }
}

/** The existing tables of this namespace. */
export async function legacyTableNames(): Promise<readonly string[]> {
  try {
    return (await readFile("/proc/net/ip_tables_names", "utf8")).split("\n").filter((name) => name !== "");
  } catch (error) {
    // The kernel has no such tables at all.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** The digest of one table. Layout of the entries: linux/netfilter_ipv4/ip_tables.h. */
async function digestEntries(fd: number, table: string): Promise<string | undefined> {
  const info = request(table, infoBytes);
  // Even this short call waits while anyone reads or replaces a table.
  const informed = await getsockopt.async(fd, IPPROTO_IP, IPT_SO_GET_INFO, info.bytes, lengthOf(info.bytes));
  if (informed < 0) throw failed("IPT_SO_GET_INFO", -informed);
  const size = info.view.getUint32(infoSizeAt, true);
  const { bytes, view, release } = request(table, entriesAt + size);
  try {
    view.setUint32(tableNameBytes, size, true);
    const got = await getsockopt.async(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, bytes, lengthOf(bytes));
    if (got === -EAGAIN) return undefined;
    if (got < 0) throw failed("IPT_SO_GET_ENTRIES", -got);
    forgetCounters(view);
    return hash("sha256", bytes);
  } finally {
    release();
  }
}

function forgetCounters(view: DataView): void {
  for (
    let at = entriesAt;
    at < view.byteLength;
    at += Math.max(view.getUint16(at + nextOffsetAt, true), entryBytes)
  ) {
    view.setBigUint64(at + countersAt, 0n);
    view.setBigUint64(at + countersAt + 8, 0n);
  }
}

/**
 * A resizable buffer has its own memory mapping, which is returned to the system at once: 8 MB for 10,000 FIPs, which
 * malloc would keep.
 */
function request(table: string, length: number) {
  const memory = new ArrayBuffer(length, { maxByteLength: length });
  const bytes = new Uint8Array(memory, 0, length);
  new TextEncoder().encodeInto(table, bytes);
  return { bytes, view: new DataView(memory, 0, length), release: () => memory.resize(0) };
}

function lengthOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(Uint32Array.of(bytes.length).buffer);
}

function failed(call: string, errno: number): GatewayError {
  return new GatewayError(
    "unreadable",
    `cannot read the iptables-legacy tables: ${call}: ${errnoName(errno)}`,
  );
}

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_IP = 0;
const IPT_SO_GET_INFO = 64;
const IPT_SO_GET_ENTRIES = 65;
const EAGAIN = 11;
const tableNameBytes = 32;
/** `struct ipt_getinfo`: name, valid hooks, five hook entries, five underflows, number of entries, size. */
const infoBytes = 84;
const infoSizeAt = 80;
/** `struct ipt_get_entries`: name, size, and entries aligned to 8 bytes. */
const entriesAt = 40;
/** `struct ipt_entry`. */
const nextOffsetAt = 90;
const countersAt = 96;
const entryBytes = 112;
