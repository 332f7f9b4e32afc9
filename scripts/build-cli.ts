/**
 * Bundles natgwctl into dist/cli. A command has to be done in the time in which Node starts twice, so this bundle is CommonJS: Node's
 * loader of ES modules takes longer than most commands. V8's compile cache is beside it.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { build, type Plugin } from "esbuild";
import { nodeCheck } from "./node-check.ts";

const directory = "dist/cli";

/**
 * A default import of a CommonJS module copies all of its members, which loads what Node would load on their first use. And no command
 * of natgwctl is a program of its own, for which commander has `child_process`.
 */
const slimBuiltins: Plugin = {
  name: "slim-builtins",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:(child_process|process|path|fs)$/ }, ({ path }) => ({
      path,
      namespace: "slim",
    }));
    onLoad({ filter: /./, namespace: "slim" }, ({ path }) => ({ contents: slim[path] ?? "" }));
  },
};

const slim: Readonly<Record<string, string>> = {
  "node:child_process": "export default {};",
  "node:process": "export default process;",
  "node:path": 'const path = require("path"); export default path;',
  "node:fs": 'const fs = require("fs"); export default fs; export const { readFileSync, writeSync } = fs;',
};

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
  const { version } = JSON.parse(await readFile("package.json", "utf8")) as { readonly version: string };
  // Files that are just being read stay as they are.
  for (const [entry, file] of [
    ["main.ts", "natgwctl.js"],
    ...apartEntries.map((name) => [`${name}.ts`, `${name}.js`] as const),
  ] as const) {
    await build({
      entryPoints: [`agent/cli/${entry}`],
      outfile: `${directory}/${file}.new`,
      bundle: true,
      platform: "node",
      format: "cjs",
      target: "node24",
      plugins: entry === "main.ts" ? [slimBuiltins, apart] : [],
      define: { NATGW_VERSION: JSON.stringify(version) },
      // Only without the definition above.
      logOverride: { "empty-import-meta": "silent" },
      minifyWhitespace: true,
      minifySyntax: true,
      lineLimit: 200,
      // A path in the bundle never leads out of the directory that is built.
      preserveSymlinks: true,
      legalComments: "inline",
    });
    await rename(`${directory}/${file}.new`, `${directory}/${file}`);
  }
  await put("package.json", '{ "type": "commonjs" }\n');
  await put("main.js", starter);
  await compile();
}

const starter = `#!/usr/bin/env node
${nodeCheck("natgwctl", 2)}
require("node:module").enableCompileCache({ directory: \`\${__dirname}/compiled\`, portable: true });
require("./natgwctl.js");
`;

/** Atomically, because a natgwctl may just be starting. */
async function put(name: string, text: string): Promise<void> {
  const path = join(directory, name);
  await writeFile(`${path}.new`, text, { mode: 0o755 });
  await rename(`${path}.new`, path);
}

/** Runs some commands against a server that answers like an agent without objects: what they compile is kept. */
async function compile(): Promise<void> {
  await rm(`${directory}/compiled`, { recursive: true, force: true });
  const place = await mkdtemp(join(tmpdir(), "natgw-build-"));
  const socket = join(place, "agent.sock");
  const server = createServer((_request, response) =>
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer)),
  );
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const { NODE_COMPILE_CACHE: _, ...environment } = process.env;
  for (const command of ["status", "get all"]) {
    const words = [`${directory}/main.js`, ...command.split(" "), "--socket", socket];
    // Its exit code says what the answer says.
    await promisify(execFile)(process.execPath, words, { env: environment }).catch(() => undefined);
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
