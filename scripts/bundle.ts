/** What the bundles of the daemon and of natgwctl have in common. */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { type BuildOptions, build } from "esbuild";

const { version } = JSON.parse(await readFile("package.json", "utf8")) as { readonly version: string };

const common = {
  bundle: true,
  platform: "node",
  // Node's loader of ES modules takes longer.
  format: "cjs",
  target: "node24",
  define: { NATGW_VERSION: JSON.stringify(version) },
  // Only without the definition above.
  logOverride: { "empty-import-meta": "silent" },
  // Node keeps the text in memory, with two bytes a character if a comment has one beyond Latin-1.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 200,
  // A path in the bundle never leads out of the directory that is built.
  preserveSymlinks: true,
} as const satisfies BuildOptions;

/** Packages that load their binaries from the directories of their own files: the daemon's bundle does not have them in it. */
export const packagesWithBinaries = ["koffi", "netlink"];

/** Bundles a program into one file, atomically: it may just be starting from the file before, or be built twice at once. */
export async function bundle(entry: string, file: string, options: BuildOptions): Promise<void> {
  const made = `${file}.${process.pid}`;
  await build({ ...common, ...options, entryPoints: [entry], outfile: made });
  if (options.legalComments === "external") await rename(`${made}.LEGAL.txt`, `${file}.LEGAL.txt`);
  await rename(made, file);
}

interface StarterOptions {
  readonly program: string;
  /** Of the program for a Node that is too old. */
  readonly exitCode: number;
  /** The lines that run the bundle. */
  readonly running: string;
}

/**
 * Writes `main.js`, which starts a bundle of its directory with V8's compile cache beside it, and removes the cache of the bundle before.
 * The cache is portable: the image is built in another directory. Where it cannot be read or written, Node goes without. An older Node
 * would fail somewhere with a syntax error or a missing function, so the first lines run with any Node.
 */
export async function writeStarter(
  directory: string,
  { program, exitCode, running }: StarterOptions,
): Promise<void> {
  await put(`${directory}/package.json`, '{ "type": "commonjs" }\n');
  await put(
    `${directory}/main.js`,
    `#!/usr/bin/env node
if (Number.parseInt(process.versions.node, 10) < 24) {
  process.stderr.write(\`${program}: Node 24 or newer is needed, this is \${process.version}\\n\`);
  process.exit(${exitCode});
}
require("node:module").enableCompileCache({ directory: \`\${__dirname}/compiled\`, portable: true });
${running}`,
  );
  await rm(`${directory}/compiled`, { recursive: true, force: true });
}

/** The environment of a start that fills the cache. */
export function cachingEnvironment(): NodeJS.ProcessEnv {
  const { NODE_COMPILE_CACHE: _, ...environment } = process.env;
  return environment;
}

/** Atomically, because the program may just be starting from the files before. */
async function put(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o755 });
  await rename(`${path}.new`, path);
}
