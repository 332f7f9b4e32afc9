/** What the project's documents refer to exists. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";

const documents = [
  "README.md",
  "CHANGELOG.md",
  ...readdirSync("docs", { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".md"))
    .map((path) => join("docs", path)),
];

t.test("every link leads to a file, and to a heading of it", async (t) => {
  t.ok(documents.length > 10);
  const links = documents.flatMap((document) =>
    linksOf(document).map((target) => ({ document, target, isFound: isFound(document, target) })),
  );
  t.ok(links.length > 50);
  t.same(
    links.filter((link) => !link.isFound),
    [],
  );
});

t.test("docs/controller.md has the programs that test/clients runs", async (t) => {
  const page = "docs/controller.md";
  const block = /<!-- (test\/clients\/\S+) -->\n```(\w+)\n.*?```\n/gs;
  const text = readFileSync(page, "utf8");
  const paths = Array.from(text.matchAll(block), ([, path = ""]) => path);
  t.match(paths, [/\.ts$/, /\.yaml$/, /\.go$/]);
  const current = text.replaceAll(
    block,
    (_all, path: string, language: string) =>
      `<!-- ${path} -->\n\`\`\`${language}\n${readFileSync(path, "utf8")}\`\`\`\n`,
  );
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(page, current);
  t.equal(readFileSync(page, "utf8"), current, "UPDATE_GOLDEN=1 writes it anew");
});

t.test("tests that documents name exist", async (t) => {
  for (const document of ["docs/kube-ovn.md", "docs/deploy/README.md"]) {
    const text = readFileSync(document, "utf8");
    const named = Array.from(
      text.matchAll(/`(?:test\/)?((?:unit|property|netns|faults|chaos)\/[\w/-]+)(?:\.test\.ts)?`/g),
      ([, name = ""]) => name,
    );
    t.ok(named.length > 1, document);
    t.same(
      named.filter((name) => !existsSync(`test/${name}.test.ts`)),
      [],
    );
  }
});

t.test("anchors are those that GitHub makes", async (t) => {
  t.same(anchorsOf("# The `a-b` (c): d?\n```sh\n# none\n```\n## Two_words\n"), ["the-a-b-c-d", "two_words"]);
});

function linksOf(document: string): readonly string[] {
  const text = readFileSync(document, "utf8")
    .replaceAll(/```[\s\S]*?```/g, "")
    .replaceAll(/`[^`]*`/g, "");
  return Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => target).filter(
    (target) => !/^[a-z]+:/.test(target),
  );
}

function isFound(document: string, target: string): boolean {
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? document : join(dirname(document), path);
  if (!existsSync(file)) return false;
  return anchor === undefined || anchorsOf(readFileSync(file, "utf8")).includes(anchor);
}

function anchorsOf(text: string): readonly string[] {
  return Array.from(text.replaceAll(/```[\s\S]*?```/g, "").matchAll(/^#+ (.+)$/gm), ([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-"),
  );
}
