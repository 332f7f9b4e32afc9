/**
 * Checks the structure of the sources: imports, file lengths, and which tests mirror which sources. Pure functions over
 * a graph, so that each rule can be tested with an artificial one.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";

/** The imports of each file: paths of other sources, or names of packages or Node modules. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

export interface SourceTree {
  readonly imports: ImportGraph;
  readonly lines: ReadonlyMap<string, number>;
}

/** Reads all TypeScript files below the folders, by path from the project's root. */
export function readSourceTree(folders: readonly string[]): SourceTree {
  const imports = new Map<string, readonly string[]>();
  const lines = new Map<string, number>();
  for (const path of filesBelow(folders)) {
    const text = readFileSync(path, "utf8");
    imports.set(path, importsOf(path, text));
    lines.set(path, text.split("\n").length - 1);
  }
  return { imports, lines };
}

/** The TypeScript files below the folders, sorted. */
export function filesBelow(folders: readonly string[]): readonly string[] {
  return globSync(folders.map((folder) => `${folder}/**/*.ts`)).sort();
}

// The formatter puts each statement at the start of a line, and names in double quotes.
const statement =
  /^(?:import|export)\s(?:type\s)?\s*(?:[\w$]+,\s*)?(?:\{[^}]*\}|[\w$]+|\*(?:\s*as\s+[\w$]+)?)\s*from\s*"([^"]+)"/gm;
const bareImport = /^import\s*"([^"]+)"/gm;
const importCall = /\b(?:import|require)\(\s*(?:"([^"]+)")?/g;

/**
 * The imports of a file, each once. Includes types, re-exports, bare imports and calls of `import()`.
 *
 * @throws if the argument of a call is not a literal, because its import is unknown
 */
export function importsOf(path: string, text: string): readonly string[] {
  const names = [statement, bareImport, importCall].flatMap((pattern) =>
    Array.from(text.matchAll(pattern), ([all, name]) => {
      if (name === undefined) throw new Error(`${path}: cannot tell what ${all} imports`);
      return name.startsWith(".") ? join(dirname(path), name) : name;
    }),
  );
  return [...new Set(names)].sort();
}

/** Files that import each other, directly or indirectly: `a.ts ⇄ b.ts`. */
export function fileCircles(graph: ImportGraph): readonly string[] {
  return circlesOf(graph);
}

/**
 * Folders that import each other. In every folder, each subfolder with everything below it counts as one node, beside
 * the files directly in it. Circles of files only are left to {@link fileCircles}.
 */
export function folderCircles(graph: ImportGraph): readonly string[] {
  return foldersOf([...graph.keys()]).flatMap((folder) => {
    const circles = circlesOf(contract(graph, folder));
    return circles.filter((circle) => circle.split(" ⇄ ").some((node) => node.endsWith("/")));
  });
}

/** The root, as "", and each folder that contains files. */
function foldersOf(paths: readonly string[]): readonly string[] {
  const folders = new Set([""]);
  for (const path of paths) {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      folders.add(path.slice(0, at + 1));
    }
  }
  return [...folders].sort();
}

function contract(graph: ImportGraph, folder: string): ImportGraph {
  const childOf = (path: string): string | undefined => {
    if (!path.startsWith(folder)) return undefined;
    const slash = path.indexOf("/", folder.length);
    return slash === -1 ? path : path.slice(0, slash + 1);
  };
  const contracted = new Map<string, string[]>();
  for (const [path, imports] of graph) {
    const from = childOf(path);
    if (from === undefined) continue;
    const targets = contracted.get(from) ?? [];
    contracted.set(from, targets);
    for (const target of imports) {
      const to = graph.has(target) ? childOf(target) : undefined;
      if (to !== undefined && to !== from) targets.push(to);
    }
  }
  return contracted;
}

/** The strongly connected components of more than one node, and nodes with an edge to themselves (Tarjan, 1972). */
function circlesOf(graph: ImportGraph): readonly string[] {
  const order = new Map<string, number>();
  const stack: string[] = [];
  const circles: string[] = [];
  const visit = (node: string): number => {
    let low = order.size;
    order.set(node, low);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!graph.has(next)) continue;
      if (!order.has(next)) low = Math.min(low, visit(next));
      else if (stack.includes(next)) low = Math.min(low, order.get(next) ?? low);
    }
    if (low !== order.get(node)) return low;
    const circle = stack.splice(stack.indexOf(node));
    const isCircle = circle.length > 1 || (graph.get(node) ?? []).includes(node);
    if (isCircle) circles.push(circle.sort().join(" ⇄ "));
    return low;
  };
  for (const node of graph.keys()) if (!order.has(node)) visit(node);
  return circles.sort();
}

/** Packages without side effects. */
const purePackages: readonly string[] = ["typebox"];

/** Types alone, of the API's documents. */
const documentTypes = "agent/client/types.ts";

/** Forbidden imports. Each function judges one import. */
const forbidden: Readonly<Record<string, (from: string, to: string) => boolean>> = {
  "lib/ imports what is not pure": (from, to) =>
    isBelow(from, "lib") && !isBelow(to, "lib") && !purePackages.includes(to),
  "the core imports the API": (from, to) => isBelow(to, "agent/api") && !isBelow(from, "agent/api"),
  "the agent imports its own client": (from, to) =>
    (isBelow(to, "agent/cli") || isBelow(to, "agent/client")) &&
    !isBelow(from, "agent/cli") &&
    !isBelow(from, "agent/client") &&
    !isBelow(from, "agent/ui"),
  "the client knows more than the API": (from, to) =>
    isBelow(from, "agent/client") && !isBelow(to, "agent/client") && !to.startsWith("node:"),
  "the page is more than its own files": (from, to) =>
    isBelow(from, "agent/ui") !== isBelow(to, "agent/ui") &&
    !(isBelow(from, "agent/ui") && to === documentTypes),
  "a source imports tests or scripts": (_from, to) => isBelow(to, "test") || isBelow(to, "scripts"),
};

/** Imports against the layers. `roots` are composition roots, so they may import the API and the client. */
export function layerFaults(graph: ImportGraph, roots: readonly string[]): readonly string[] {
  const faults: string[] = [];
  for (const [from, imports] of graph) {
    for (const to of imports) {
      if (roots.includes(from) && isBelow(to, "agent")) continue;
      for (const [fault, isBroken] of Object.entries(forbidden)) {
        if (isBroken(from, to)) faults.push(`${fault}: ${from} → ${to}`);
      }
    }
  }
  return faults;
}

function isBelow(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}

/** Names that belong to one address family. */
const familyNames: readonly RegExp[] = [
  /ipv4/i,
  /\bAF_INET\b/,
  /\b(?:to|from|netmask)U32\b/,
  /\/32\b/,
  /\b32 - /,
  /\b0\.0\.0\.0\b/,
  /\b127\.0\.0\./,
  /\btable ip\b/,
  /[`"]ip \$\{/,
  /"tables?", "ip"/,
];

/** The names of one address family in a text, without comments. */
export function familyNamesIn(text: string): readonly string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(?:^|\s)\/\/ .*$/gm, "");
  return familyNames.flatMap((pattern) => pattern.exec(code)?.[0] ?? []);
}

/** Files with more lines than `limit`. */
export function longFiles(lines: ReadonlyMap<string, number>, limit: number): readonly string[] {
  return [...lines].filter(([, count]) => count > limit).map(([path]) => path);
}

/**
 * Test files below `test/unit` and `test/property` whose path mirrors no source. `<path>.test.ts` mirrors the source
 * `<path>.ts`, and `<folder>/<name of the folder>.test.ts` the folder. Either name may be followed by `-` and an
 * aspect.
 */
export function unmirroredTests(tests: readonly string[], sources: readonly string[]): readonly string[] {
  const known = new Set(sources);
  const folders = new Set(foldersOf(sources));
  return tests.filter((test) => {
    const [, folder = "", name = ""] = test.match(/^test\/(?:unit|property)\/(.*\/)([^/]+)\.test\.ts$/) ?? [];
    if (!folders.has(folder)) return true;
    const words = name.split("-");
    const subjects = words.map((_, index) => words.slice(0, index + 1).join("-"));
    const folderName = folder.split("/").at(-2);
    return !subjects.some((subject) => known.has(`${folder}${subject}.ts`) || subject === folderName);
  });
}
