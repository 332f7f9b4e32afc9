/** The version in package.json. */
import { readFileSync } from "node:fs";

/** The bundle has it built in: reading the file would take longer than all else at the start. */
declare const NATGW_VERSION: string | undefined;

export const version: string = typeof NATGW_VERSION === "string" ? NATGW_VERSION : readVersion();

function readVersion(): string {
  const path = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(path, "utf8")) as { readonly version: string };
  return version;
}
