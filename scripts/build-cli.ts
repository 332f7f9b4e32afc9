/**
 * Bundles natgwctl into dist/cli. A command has to be done in the time in which Node starts twice, so this bundle is CommonJS: Node's
 * loader of ES modules takes longer than most commands. V8's compile cache is beside it.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Plugin } from "esbuild";
import { builtins } from "./builtins.ts";
import { bundle, cachingEnvironment, writeStarter } from "./bundle.ts";

const directory = "dist/cli";

/** No command of natgwctl is a program of its own, for which commander has `child_process`. */
const unused = { "node:child_process": "export default {};" };

/** What only some commands need: bundles of their own. */
const apartEntries = ["manifest-tools", "local-report"] as const;

const apart: Plugin = {
  name: "apart",
  setup({ onResolve }) {
    for (const entry of apartEntries)
      onResolve({ filter: new RegExp(`/${entry}\\.ts$`) }, ({ kind }) =>
        kind === "entry-point" ? undefined : { path: `./${entry}.js`, external: true },
      );
  },
};

export async function buildCli(): Promise<void> {
  for (const [entry, file] of [
    ["main.ts", "natgwctl.js"],
    ...apartEntries.map((name) => [`${name}.ts`, `${name}.js`] as const),
  ] as const) {
    await bundle(`agent/cli/${entry}`, `${directory}/${file}`, {
      plugins: entry === "main.ts" ? [builtins(unused), apart] : [builtins()],
      legalComments: "inline",
    });
  }
  await writeStarter(directory, {
    program: "natgwctl",
    exitCode: 2,
    running: 'require("./natgwctl.js");\n',
  });
  await compile();
}

/** Runs some commands against a server that answers like an agent without objects: what they compile is kept. */
async function compile(): Promise<void> {
  const place = await mkdtemp(join(tmpdir(), "natgw-build-"));
  const socket = join(place, "agent.sock");
  const server = createServer((_request, response) =>
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer)),
  );
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  for (const command of ["status", "get all"]) {
    const words = [`${directory}/main.js`, ...command.split(" "), "--socket", socket];
    // Its exit code says what the answer says.
    await promisify(execFile)(process.execPath, words, { env: cachingEnvironment() }).catch(() => undefined);
  }
  server.close();
  await rm(place, { recursive: true });
}

const link = { name: "net1", present: true, up: true, mac: "", addresses: [] };
const answer = {
  items: [],
  version: "",
  epoch: "",
  degraded: [],
  generation: { desired: 0, applied: 0 },
  revision: { desired: 0, applied: 0 },
  objects: { eips: { total: 1, ready: 1, notReady: 0 } },
  lastReconcile: { startedAt: "2026-01-01T00:00:00Z", took: 0, changed: 0, failed: [] },
  backend: "nftables",
  gate: "open",
  untranslated: "forward",
  bfdGate: "off",
  interfaces: { external: link },
};
