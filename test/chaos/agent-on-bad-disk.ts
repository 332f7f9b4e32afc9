/**
 * The daemon with its state directory on a bad disk: `TEST_DISK=small` is an empty disk of 256 KiB,
 * `TEST_DISK=readonly` mounts the directory read-only. The mount is in the mount namespace that `ip netns exec` creates
 * for each command: no other process sees it, and it ends with the daemon.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";

const directory = process.env.NATGW_STATE_DIR ?? "";
const mount = (...args: readonly string[]) => execFileSync("mount", [...args, directory]);
mkdirSync(directory, { recursive: true });
if (process.env.TEST_DISK === "small") mount("-t", "tmpfs", "-o", "size=256k", "none");
else {
  mount("--bind", directory);
  mount("-o", "remount,bind,ro");
}
await import("../../agent/main.ts");
