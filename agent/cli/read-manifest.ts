/** Reads the file of `apply -f` and `diff -f`, YAML or JSON. */
import { readFile } from "node:fs/promises";
import { countKeys } from "../../lib/count-keys.ts";
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

/** Members of all objects in a text of JSON, also those of a key that occurs twice. */
function membersIn(text: string): number {
  let members = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') isInString = !isInString;
    else if (isInString && char === "\\") at++;
    else if (!isInString && char === ":") members++;
  }
  return members;
}

/** JSON is YAML, but its own parser is a hundred times faster. */
async function documentsIn(text: string, file: string): Promise<readonly unknown[]> {
  if (/^\s*[{[]/.test(text)) {
    try {
      const document: unknown = JSON.parse(text);
      if (countKeys(document) === membersIn(text)) return [document];
    } catch {
      // YAML may start so, too.
    }
    // Its parser tells the line, also where a key occurs twice: JSON's would take the last one.
  }
  const { yamlDocuments } = await import("./manifest-tools.ts");
  const parsed = yamlDocuments(text);
  if ("error" in parsed) throw new UsageFailure(`${file}: ${parsed.error}`);
  return parsed.documents;
}
