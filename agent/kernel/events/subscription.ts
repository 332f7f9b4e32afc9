/** Whether a process in this network namespace listens to netlink multicast. */
import { readFile } from "node:fs/promises";

/** True if a netlink socket of process `pid` has joined a group. False if the table cannot be read. */
export async function isSubscribed(pid: number): Promise<boolean> {
  const table = await readFile("/proc/self/net/netlink", "latin1").catch(() => "");
  return hasGroups(table, pid);
}

/** Columns: sk, Eth (protocol), Pid (port id, by default the process's pid), Groups as a hexadecimal mask, ... */
export function hasGroups(table: string, pid: number): boolean {
  return table.split("\n").some((line) => {
    const [, , port, groups = "0"] = line.trim().split(/\s+/);
    return port === String(pid) && Number.parseInt(groups, 16) !== 0;
  });
}
