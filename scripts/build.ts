/**
 * Bundles the daemon into one file, dist/agent/main.js. Node spends most of an agent's start on finding and compiling some
 * two thousand modules; docs/adr/0011-one-bundle.md has the figures.
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
  // They load their binaries from beside their own files.
  external: ["koffi", "netlink"],
  // Bundled CommonJS packages ask for Node's modules by `require`, which ES modules do not have.
  banner: {
    js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);',
  },
  // Stack traces name what the sources name.
  keepNames: true,
  legalComments: "inline",
});
// At once: an agent may be starting from the bundle of before.
await rename(`${bundle}.new`, bundle);
