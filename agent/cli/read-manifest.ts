/** Reads the file of `apply -f` and `diff -f`, YAML or JSON. */
import { readFile } from "node:fs/promises";
import { UsageFailure } from "./failures.ts";
import { type Manifest, parseManifest } from "./manifest.ts";

/** The agent takes no longer body. */
const maxBytes = 64 * 1024 * 1024;

/** `-` is standard input. @throws UsageFailure */
export async function readManifest(file: string): Promise<Manifest> {
  const text = file === "-" ? await readInput() : await readText(file);
  return parseManifest(await documentsIn(text, file), file);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new UsageFailure(error instanceof Error ? error.message : String(error));
  }
}

async function readInput(): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of process.stdin) {
    length += (part as Buffer).length;
    if (length > maxBytes) throw new UsageFailure("standard input has more than 64 MiB");
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** JSON is YAML, but its own parser is a hundred times faster. */
async function documentsIn(text: string, file: string): Promise<readonly unknown[]> {
  if (/^\s*[{[]/.test(text)) {
    try {
      return [JSON.parse(text)];
    } catch {
      // YAML may start so, too, and its parser tells the line.
    }
  }
  const { yamlDocuments } = await import("./manifest-tools.ts");
  const parsed = yamlDocuments(text);
  if ("error" in parsed) throw new UsageFailure(`${file}: ${parsed.error}`);
  return parsed.documents;
}
