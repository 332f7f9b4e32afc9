/** Builds the status page: agent/ui as the files that the agent serves at /ui. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { build } from "esbuild";
import type { PageFile } from "../agent/api/page.ts";

const directory = "agent/ui";

export async function buildPage(): Promise<readonly PageFile[]> {
  const [script, style] = await Promise.all([bundle("main.ts"), bundle("style.css")]);
  const [html, icon] = await Promise.all(
    ["index.html", "icon.svg"].map((name) => readFile(`${directory}/${name}`, "utf8")),
  );
  return [
    file("/ui", "text/html", html),
    file("/ui/app.js", "text/javascript", script),
    file("/ui/style.css", "text/css", style),
    file("/ui/icon.svg", "image/svg+xml", icon),
  ];
}

async function bundle(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${directory}/${entry}`],
    bundle: true,
    write: false,
    format: "iife",
    target: ["chrome123", "firefox128", "safari18"],
    minify: true,
    charset: "ascii",
    legalComments: "none",
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error(`nothing was made of ${entry}`);
  return output.text;
}

function file(path: string, type: string, text = ""): PageFile {
  const digest = createHash("sha256").update(text).digest("base64url");
  return { path, contentType: `${type}; charset=utf-8`, text, etag: `"${digest.slice(0, 22)}"` };
}
