/** Reads and writes the sysctls of this namespace. */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { Family } from "../../../lib/model/family.ts";
import type { DeviceSetting, SysctlKey } from "../../../lib/model/observed.ts";
import { setDeviceSetting } from "../../../lib/netlink/rtnetlink-links.ts";
import type { SysctlStep } from "../../../lib/plan/network/sysctls.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";

/**
 * The value. `undefined` if it cannot be read or is not a number. The kernel answers at once: a thread of its own would cost ten times
 * as much.
 */
export function readSysctl(root: string, key: SysctlKey, family: Family): number | undefined {
  try {
    const value = Number.parseInt(readFileSync(sysctlPath(root, key, family), "utf8"), 10);
    return Number.isNaN(value) ? undefined : value;
  } catch {
    return undefined;
  }
}

/**
 * Writes one sysctl. If /proc/sys is read-only, as in most containers, a device's setting is written by rtnetlink. For
 * `ip_forward` there is no such way.
 *
 * @param indexOf the index of an interface, `undefined` if it does not exist
 * @returns `undefined` on success, else code and text of the error
 */
export async function writeSysctl(
  step: SysctlStep,
  root: string,
  netlink: NetlinkConnection,
  indexOf: (name: string) => number | undefined,
  family: Family,
  signal: AbortSignal,
): Promise<{ readonly code: string; readonly message: string } | undefined> {
  const path = sysctlPath(root, step.key, family);
  const refusal = await writeFile(path, `${step.value}\n`, { signal }).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => ({ code: error.code ?? "EIO", message: error.message }),
  );
  signal.throwIfAborted();
  if (refusal === undefined) return undefined;
  const device = deviceOf(step.key, family);
  const index = device === undefined ? undefined : indexOf(device.name);
  if (device === undefined || index === undefined) return refusal;
  const message = setDeviceSetting(index, device.setting, step.value, family);
  const [error] = await netlink.batch([message], signal);
  return error;
}

/** `net.ipv4.conf.net1.forwarding` is /proc/sys/net/ipv4/conf/net1/forwarding. A device name may contain dots. */
function sysctlPath(root: string, key: SysctlKey, { sysctls: { devices } }: Family): string {
  const pathOf = (dotted: string) => `${root}/${dotted.replaceAll(".", "/")}`;
  if (!key.startsWith(`${devices}.`)) return pathOf(key);
  const dot = key.lastIndexOf(".");
  return `${pathOf(devices)}/${key.slice(devices.length + 1, dot)}/${key.slice(dot + 1)}`;
}

function deviceOf(
  key: SysctlKey,
  { sysctls: { devices }, link }: Family,
): { readonly name: string; readonly setting: DeviceSetting } | undefined {
  if (!key.startsWith(`${devices}.`)) return undefined;
  const dot = key.lastIndexOf(".");
  const setting = key.slice(dot + 1);
  const known = (Object.keys(link.numbers) as DeviceSetting[]).find((name) => name === setting);
  return known === undefined ? undefined : { name: key.slice(devices.length + 1, dot), setting: known };
}
