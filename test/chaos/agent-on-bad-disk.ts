/**
 * The daemon with its state directory on a bad disk: `TEST_DISK=small`, an empty one of 256 KiB, or
 * `TEST_DISK=readonly`, the directory as it is. The mount is made in the mount namespace that `ip netns exec` gives to
 * each command, where nobody else sees it, and ends with the daemon.
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
