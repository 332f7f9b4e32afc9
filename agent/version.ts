/** The version of the agent. */
import { readFileSync } from "node:fs";

/** Searches upwards for package.json: sources and `dist` are at different depths. */
export function readVersion(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const found: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
      if (typeof found === "object" && found !== null && "version" in found) return String(found.version);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  return "unknown";
}
