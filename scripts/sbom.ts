/**
 * Writes what the bundle and the image are made of: `dist/sbom.cdx.json`, a software bill of materials (CycloneDX, by
 * `npm sbom`), and `dist/LICENSES.txt`, the licence of each package. The same lock file gives the same bytes.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

interface Component {
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly licenses?: readonly { readonly license?: { readonly id?: string; readonly name?: string } }[];
}

interface Bom {
  serialNumber?: string;
  readonly metadata: { timestamp?: string; component: { name: string } };
  components: readonly Component[];
  dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

interface LockFile {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly dev?: boolean }>>;
}

const project: { readonly name: string; readonly version: string } = readJson("package.json");
const { packages: locked }: LockFile = readJson("package-lock.json");
const bom: Bom = JSON.parse(
  execFileSync("npm", ["sbom", "--package-lock-only", "--sbom-format=cyclonedx"], {
    encoding: "utf8",
    maxBuffer: 64 << 20,
  }),
);
// npm's own `--omit=dev` also omits a package at run time that one of the others has as a peer.
const isUsed = new Set([`${project.name}@${project.version}`]);
for (const [path, { version, dev }] of Object.entries(locked))
  if (dev !== true) isUsed.add(`${path.replace(/^.*node_modules\//, "")}@${version}`);
bom.components = bom.components.filter((component) => isUsed.has(component["bom-ref"]));
bom.dependencies = bom.dependencies
  .filter(({ ref }) => isUsed.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => isUsed.has(one)) }));
// npm makes up a number, takes the time of the day, and names the project by its folder.
delete bom.serialNumber;
delete bom.metadata.timestamp;
bom.metadata.component.name = project.name;
mkdirSync("dist", { recursive: true });
writeFileSync("dist/sbom.cdx.json", `${JSON.stringify(bom, null, 2)}\n`);

const packages = bom.components.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
writeFileSync("dist/LICENSES.txt", packages.map(describe).join(`${"-".repeat(80)}\n`));

function describe({ name, version, licenses = [] }: Component): string {
  const names = licenses
    .map(({ license }) => license?.id ?? license?.name)
    .filter((one) => one !== undefined);
  const title = `${name} ${version}: ${names.join(", ") || "no licence named"}\n`;
  const folder = `node_modules/${name}`;
  // A package for another processor is not installed.
  const files = existsSync(folder)
    ? readdirSync(folder).filter((file) => /^(?:licen[cs]e|notice)/i.test(file))
    : [];
  return [title, ...files.map((file) => readFileSync(`${folder}/${file}`, "utf8").trimEnd())]
    .join("\n")
    .concat("\n");
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8"));
}
