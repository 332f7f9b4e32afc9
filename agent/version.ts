/** The version in package.json. */
import { readFileSync } from "node:fs";

/** The bundles have it built in. */
declare const NATGW_VERSION: string | undefined;

export const version: string = typeof NATGW_VERSION === "string" ? NATGW_VERSION : readVersion();

function readVersion(): string {
  const path = new URL("../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(path, "utf8")) as { readonly version: string };
  return version;
}
