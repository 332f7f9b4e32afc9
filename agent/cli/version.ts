/** The version in package.json, two folders above the source and above the bundle. */
import { readFileSync } from "node:fs";

export const version: string = readVersion();

function readVersion(): string {
  const path = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(path, "utf8")) as { readonly version: string };
  return version;
}
