/**
 * Bundles the daemon into one file, dist/agent/agent.js. Without a bundle Node spends most of the agent's start on finding and
 * compiling about two thousand modules. dist/agent/main.js starts it with the code that V8 compiled beside it (code-cache.ts);
 * docs/adr/0011-one-bundle.md has the figures.
 */
import type { Plugin } from "esbuild";
import { buildCli } from "./build-cli.ts";
import { builtins } from "./builtins.ts";
import { bundle, packagesWithBinaries, writeStarter } from "./bundle.ts";
import { fillCodeCache, runningWithCodeCache, wrapper } from "./code-cache.ts";
import { buildPage } from "./page.ts";

/** Puts the status page into the bundle. */
const statusPage: Plugin = {
  name: "status-page",
  setup({ onLoad }) {
    onLoad({ filter: /\/agent\/api\/page\.ts$/ }, async () => ({
      contents: `export const pageFiles = ${JSON.stringify(await buildPage())};`,
    }));
  },
};

await buildAgent();
await buildCli();

async function buildAgent(): Promise<void> {
  const directory = "dist/agent";
  await bundle("agent/main.ts", `${directory}/agent.js`, {
    plugins: [builtins(), statusPage],
    external: packagesWithBinaries,
    legalComments: "external",
    ...wrapper,
  });
  await writeStarter(directory, {
    program: "natgw-agent",
    exitCode: 1,
    running: runningWithCodeCache("agent.js"),
  });
  await fillCodeCache(directory);
}
