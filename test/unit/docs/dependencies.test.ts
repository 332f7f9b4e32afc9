/** docs/dependencies.md names each direct dependency, and nothing else. */
import { readFileSync } from "node:fs";
import t from "tap";

interface Project {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const readRoot = (name: string) => readFileSync(new URL(`../../../${name}`, import.meta.url), "utf8");
const { dependencies, devDependencies, optionalDependencies }: Project = JSON.parse(readRoot("package.json"));
const [atRunTime = "", toBuild = ""] = readRoot("docs/dependencies.md").split("## To build and test");

/** The cells of each row that begins with the name of a package. */
function rowsOf(text: string): readonly (readonly string[])[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").slice(1, -1));
}

const packagesOf = (text: string) =>
  rowsOf(text).flatMap(([names = ""]) => Array.from(names.matchAll(/`([^`]+)`/g), ([, name]) => name));

t.test("the packages", async (t) => {
  t.same(packagesOf(atRunTime).toSorted(), Object.keys(dependencies).toSorted(), "at run time");
  const others = Object.keys({ ...devDependencies, ...optionalDependencies });
  t.same(packagesOf(toBuild).toSorted(), others.toSorted(), "to build and test");
});

t.test("each at run time has a purpose, its upkeep, its size and what would replace it", async (t) => {
  for (const cells of rowsOf(atRunTime))
    t.match(
      cells.map((cell) => cell.trim() !== ""),
      [true, true, true, true, true],
      String(cells[0]),
    );
});
