/**
 * Bundles the daemon into one file, dist/agent/agent.js. Without a bundle Node spends most of the agent's start on finding and
 * compiling about two thousand modules. dist/agent/main.js starts it with V8's compile cache beside it;
 * docs/adr/0011-one-bundle.md has the figures.
 */
import { spawnSync } from "node:child_process";
import { rename, rm, writeFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { type BuildOptions, build, type Plugin } from "esbuild";
import { buildCli } from "./build-cli.ts";
import { nodeCheck } from "./node-check.ts";
import { buildPage } from "./page.ts";

/**
 * Loads Node's own modules with `require`. An import makes an ES module of each, which reads all of its exports: of
 * `node:http` also `WebSocket`, which loads another HTTP client.
 */
const requiredBuiltins: Plugin = {
  name: "required-builtins",
  setup({ onResolve, onLoad }) {
    const isBuiltin = new Set(builtinModules);
    onResolve({ filter: /^[a-z:_/]+$/ }, ({ path, kind }) =>
      kind !== "require-call" && isBuiltin.has(path.replace(/^node:/, ""))
        ? { path, namespace: "builtin" }
        : undefined,
    );
    onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
};

/** Puts the status page into the bundle. */
const statusPage: Plugin = {
  name: "status-page",
  setup({ onLoad }) {
    onLoad({ filter: /\/agent\/api\/page\.ts$/ }, async () => ({
      contents: `export const pageFiles = ${JSON.stringify(await buildPage())};`,
    }));
  },
};

const common = {
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node24",
  plugins: [requiredBuiltins, statusPage],
  // They load their binaries from the directories of their own files.
  external: ["koffi", "netlink"],
  // Bundled CommonJS packages load Node's modules with `require`, which ES modules do not have.
  banner: {
    js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);',
  },
  // Stack traces use the names of the sources.
  keepNames: true,
  // Node keeps the text in memory, with two bytes a character if a comment has one beyond Latin-1.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 200,
  // A path in the bundle never leads out of the directory that is built.
  preserveSymlinks: true,
  legalComments: "external",
} as const satisfies BuildOptions;

await buildAgent();
await buildCli();

async function buildAgent(): Promise<void> {
  const directory = "dist/agent";
  const bundle = `${directory}/agent.js`;
  await build({ ...common, entryPoints: ["agent/main.ts"], outfile: `${bundle}.new` });
  // Atomically, because an agent may just be starting from the previous bundle.
  await rename(`${bundle}.new`, bundle);
  await rename(`${bundle}.new.LEGAL.txt`, `${bundle}.LEGAL.txt`);
  await start(directory, "agent.js", [["--version"]]);
}

/**
 * Writes main.js, which starts the bundle, and runs it, so that what it compiles is kept. The cache is portable: the image is built
 * in another directory. Where it cannot be read or written, Node goes without.
 */
async function start(
  directory: string,
  bundle: string,
  calls: readonly (readonly string[])[],
): Promise<void> {
  const main = `${directory}/main.js`;
  const starter = `#!/usr/bin/env node
import module from "node:module";
${nodeCheck("natgw-agent", 1)}
module.enableCompileCache({ directory: \`\${import.meta.dirname}/compiled\`, portable: true });
await import("./${bundle}");
`;
  await writeFile(`${main}.new`, starter, { mode: 0o755 });
  await rename(`${main}.new`, main);
  await rm(`${directory}/compiled`, { recursive: true, force: true });
  const { NODE_COMPILE_CACHE: _, ...environment } = process.env;
  for (const call of calls)
    spawnSync(process.execPath, [main, ...call], { env: environment, stdio: "ignore" });
}
