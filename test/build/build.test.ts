/** `npm run build`: the same sources give the same files wherever they lie, and each package in them is listed. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import t, { type Test } from "tap";

const root = resolve(import.meta.dirname, "../..");

/** What `dist/` holds by path, but what V8 compiled. */
function buildIn(directory: string): ReadonlyMap<string, string> {
  mkdirSync(directory);
  for (const name of [
    "agent",
    "lib",
    "scripts",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    ".npmrc",
  ])
    cpSync(join(root, name), join(directory, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
  for (const script of ["scripts/build.ts", "scripts/sbom.ts"])
    execFileSync(process.execPath, [script], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] });
  const files = globSync("dist/**", { cwd: directory, exclude: ["**/compiled/**"] }).filter((file) =>
    statSync(join(directory, file)).isFile(),
  );
  const digest = (file: string) =>
    createHash("sha256")
      .update(readFileSync(join(directory, file)))
      .digest("hex");
  return new Map(files.toSorted().map((file) => [file, digest(file)]));
}

/** The files that a start loads: those that V8 has to compile, and those that it finds compiled. */
function loadedBy(main: string): { readonly compiled: readonly string[]; readonly kept: readonly string[] } {
  const { NODE_COMPILE_CACHE: _, ...environment } = process.env;
  const { stderr, status } = spawnSync(process.execPath, [main, "--version"], {
    env: { ...environment, NODE_DEBUG_NATIVE: "COMPILE_CACHE" },
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${main} ended with ${status}: ${stderr}`);
  const named = (what: string) => [
    ...new Set(
      Array.from(stderr.matchAll(new RegExp(`code cache for \\S+ (\\S+) ${what}`, "g")), ([, file = ""]) =>
        basename(file),
      ),
    ),
  ];
  return { compiled: named("was (?:not initialized|rejected)"), kept: named("was accepted") };
}

t.test("two builds in two places", async (t) => {
  const base = t.testdir();
  const first = buildIn(join(base, "one"));
  const second = buildIn(join(base, "a-longer-name"));
  t.ok(first.has("dist/agent/agent.js"));
  t.strictSame(second, first, "are the same");

  const bom: { readonly components: readonly { readonly name: string; readonly licenses?: unknown }[] } =
    JSON.parse(readFileSync(join(base, "one/dist/sbom.cdx.json"), "utf8"));
  const project: { readonly dependencies: object } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  const listed = new Set(bom.components.map(({ name }) => name));
  t.same(
    Object.keys(project.dependencies).filter((name) => !listed.has(name)),
    [],
    "every dependency is listed",
  );
  t.same(
    bom.components.filter(({ licenses }) => licenses === undefined),
    [],
    "with its licence",
  );
  t.notMatch(readFileSync(join(base, "one/dist/LICENSES.txt"), "utf8"), "no licence named");

  for (const [program, file] of [
    ["agent", "raw.js"],
    ["cli", "natgwctl.js"],
  ] as const) {
    const { compiled, kept } = loadedBy(join(base, "one/dist", program, "main.js"));
    t.same(compiled, [], `${program}: a start compiles nothing again`);
    t.ok(kept.includes(file), `${program}: ${kept}`);
    t.ok(kept.length <= 10, `${program}: ${kept.length} files`);
  }
  expectCodeCache(t, join(base, "one/dist/agent"));
});

/** The agent starts from its code cache if that is whole and its own, and without it otherwise. */
function expectCodeCache(t: Test, directory: string): void {
  const file = join(directory, "compiled/code");
  const whole = readFileSync(file);
  t.match(startOf(directory), { version: "0.1.0\n", isCached: true }, "a start takes the code that was kept");
  const damagedAt = (at: number) => Uint8Array.from(whole, (byte, index) => (index === at ? byte ^ 1 : byte));
  const others: Readonly<Record<string, Uint8Array>> = {
    "of another bundle": damagedAt(0),
    "with a damaged sum": damagedAt(5),
    "with damaged data": damagedAt(whole.length >> 1),
    "that ends early": whole.subarray(0, whole.length >> 1),
    "without data": whole.subarray(0, 8),
    "without a sum": whole.subarray(0, 3),
    empty: new Uint8Array(),
  };
  for (const [what, bytes] of Object.entries(others)) {
    writeFileSync(file, bytes);
    t.match(startOf(directory), { version: "0.1.0\n", isCached: false }, `a cache ${what} is not used`);
  }
  rmSync(file);
  t.match(startOf(directory), { version: "0.1.0\n", isCached: false }, "nor is one needed");
}

/** What `--version` prints, and whether V8 took the code cache. */
function startOf(directory: string): { readonly version: string; readonly isCached: boolean } {
  const main = join(directory, "main.js");
  const look = `const { script } = require(process.argv[1]); process.stderr.write(String(script.cachedDataRejected));`;
  const preloaded = join(directory, "look.cjs");
  writeFileSync(preloaded, `process.once("exit", () => { ${look} });`);
  const { stdout, stderr } = spawnSync(process.execPath, ["--require", preloaded, main, "--version"], {
    encoding: "utf8",
  });
  // V8 says nothing where it was given nothing.
  return { version: stdout, isCached: stderr === "false" };
}
