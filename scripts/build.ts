/**
 * Bundles the daemon into one file, dist/agent/main.js. Without a bundle Node spends most of the agent's start on finding and
 * compiling about two thousand modules; docs/adr/0011-one-bundle.md has the figures.
 */
import { rename } from "node:fs/promises";
import { build } from "esbuild";

const bundle = "dist/agent/main.js";
await build({
  entryPoints: ["agent/main.ts"],
  outfile: `${bundle}.new`,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node24",
  // They load their binaries from the directories of their own files.
  external: ["koffi", "netlink"],
  // Bundled CommonJS packages load Node's modules with `require`, which ES modules do not have.
  banner: {
    js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);',
  },
  // Stack traces use the names of the sources.
  keepNames: true,
  legalComments: "inline",
});
// Atomically, because an agent may just be starting from the previous bundle.
await rename(`${bundle}.new`, bundle);
