/**
 * The daemon in one file, like the shipped one, but with bad-socket.ts as the socket of its nftables dataplane. All other sockets
 * are real.
 */
import { fileURLToPath } from "node:url";
import type { Plugin } from "esbuild";
import { builtins } from "../../scripts/builtins.ts";
import { bundle, packagesWithBinaries } from "../../scripts/bundle.ts";

/** Beside the packages that the bundle loads. */
const file = pathOf("../../node_modules/.cache/agent-on-bad-netlink.cjs");

const badSocket: Plugin = {
  name: "bad-socket",
  setup({ onResolve }) {
    onResolve({ filter: /\/netlink\/socket\.ts$/ }, ({ importer }) =>
      importer.endsWith("/agent/kernel/nftables/transaction.ts")
        ? { path: pathOf("bad-socket.ts") }
        : undefined,
    );
  },
};

let built: Promise<string> | undefined;

/** The daemon's entry file. It is built once for each process of tests. */
export function agentOnBadNetlink(): Promise<string> {
  built ??= bundle(pathOf("../../agent/main.ts"), file, {
    plugins: [badSocket, builtins()],
    external: packagesWithBinaries,
  }).then(() => file);
  return built;
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}
