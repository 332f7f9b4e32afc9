/** How bundles load Node's own modules. */
import { builtinModules, createRequire } from "node:module";
import type { Plugin } from "esbuild";

const nodeRequire = createRequire(import.meta.url);
const names = new Set(builtinModules);
const identifier = /^[A-Za-z_$][\w$]*$/;

/**
 * Loads Node's own modules with `require`, and of their members only those that are imported. An import would make an ES module of each,
 * which reads all of its members: of `node:http` also `WebSocket`, which loads another HTTP client. What esbuild does instead copies
 * all members for every file that imports the module.
 *
 * @param instead the text of modules that take the place of Node's, by name
 */
export function builtins(instead: Readonly<Record<string, string>> = {}): Plugin {
  return {
    name: "builtins",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^[a-z0-9_:/]+$/ }, ({ path, kind }) => {
        const name = path.replace(/^node:/, "");
        return kind === "import-statement" && names.has(name)
          ? { path: `node:${name}`, namespace: "builtin" }
          : undefined;
      });
      onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
        contents: instead[path] ?? moduleOf(path),
      }));
    },
  };
}

/** esbuild leaves out what is marked as pure and not used. */
function moduleOf(path: string): string {
  const members = Object.keys(nodeRequire(path)).filter(
    (member) => identifier.test(member) && member !== "default",
  );
  return [
    `const all = require(${JSON.stringify(path)});`,
    "export default all;",
    ...members.map(
      (member, index) =>
        `const m${index} = /* @__PURE__ */ (() => all.${member})(); export { m${index} as ${member} };`,
    ),
  ].join("\n");
}
