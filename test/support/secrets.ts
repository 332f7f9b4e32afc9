/**
 * Secrets that tests give to agents, and the search for them in everything that an agent writes. Each token begins with one mark,
 * so that a search also finds those of other processes.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const mark = "planted-secret-of";
const marked = new RegExp(`${mark}-[\\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----`, "g");
/** What must be nowhere: digests of tokens, lines of keys. */
const planted = new Set<string>();

/** A token, always the same for a name. */
export function plantToken(name: string): string {
  const token = `${mark}-${name}`;
  const digest = sha256(token);
  for (const encoding of ["hex", "base64", "base64url", "latin1"] as const)
    planted.add(digest.toString(encoding));
  planted.add(Buffer.from(token).toString("base64"));
  return token;
}

/** The line of a token file that admits a planted token. */
export function tokenLine(name: string, role: "read" | "write"): string {
  return `${name}:${role}:${sha256(plantToken(name)).toString("hex")}\n`;
}

/** @param pem a private key */
export function plantKey(pem: string): void {
  for (const line of pem.split("\n")) if (line.length > 20 && !line.startsWith("-")) planted.add(line);
}

/** The secrets in a text. A digest is enough: who has it can try words. */
export function secretsIn(text: string): readonly string[] {
  const found = text.match(marked) ?? [];
  return [...new Set([...found, ...[...planted].filter((secret) => text.includes(secret))])];
}

/** @throws if there is one */
export function expectNoSecret(where: string, text: string): void {
  const [secret] = secretsIn(text);
  if (secret === undefined) return;
  const at = text.indexOf(secret);
  throw new Error(`a secret in ${where}: ${JSON.stringify(text.slice(Math.max(0, at - 200), at + 100))}`);
}

/**
 * Searches all files below a directory.
 * @param except paths of files and directories that hold secrets
 */
export async function expectNoSecretBelow(directory: string, except: readonly string[]): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true });
  for (const entry of entries) {
    const path = join(directory, entry.name);
    if (except.includes(path)) continue;
    if (entry.isDirectory()) await expectNoSecretBelow(path, except);
    else if (entry.isFile()) expectNoSecret(path, await readFile(path, "latin1"));
  }
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
