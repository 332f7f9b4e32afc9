/** `natgwctl bugreport`: everything that a report of a fault needs, as one archive. What could not be read is named in it. */
import { writeFile } from "node:fs/promises";
import { collections } from "../../../lib/model/names.ts";
import { bytes, counted } from "../../../lib/text/quantities.ts";
import { type Cell, lines, table } from "../../../lib/text/view.ts";
import { type Answer, outputFormats } from "../answer.ts";
import type { Api, CallOptions } from "../api.ts";
import { type ArchiveFile, archive } from "../archive.ts";
import type { Context } from "../context.ts";
import type { GatewayStatus } from "../documents.ts";
import { CliFailure, UsageFailure } from "../failures.ts";
import { withoutSecrets } from "../secrets.ts";
import { version } from "../version.ts";

interface Part {
  readonly file: string;
  readonly method?: "get" | "post";
  readonly path: string;
  readonly options?: CallOptions;
}

const asText = { accept: "text/plain" };

/** Read one after the other, so that a report costs the agent little. */
const parts: readonly Part[] = [
  { file: "plan.txt", path: "/v1/plan", options: asText },
  { file: "inventory.json", path: "/v1/inventory" },
  { file: "desired.json", path: "/v1/desired" },
  ...collections.map((collection) => ({ file: `objects/${collection}.json`, path: `/v1/${collection}` })),
  {
    file: "events.txt",
    path: "/v1/events",
    options: { query: { since: "24h", follow: false }, accept: "text/event-stream" },
  },
  { file: "doctor.json", path: "/v1/doctor" },
  { file: "top-clients.json", path: "/v1/flows/top", options: { query: { by: "clients" } } },
  { file: "top-destinations.json", path: "/v1/flows/top", options: { query: { by: "destinations" } } },
  { file: "audit.json", path: "/v1/audit" },
  { file: "kernel-as-set.json", method: "post", path: "/v1/import", options: { query: { from: "kernel" } } },
  ...["rules", "links", "addresses", "routes", "neighbours", "qos", "sysctls", "conntrack", "log"].map(
    (part) => ({
      file: `${part}.txt`,
      path: `/v1/diagnostics/${part}`,
      options: asText,
    }),
  ),
  { file: "metrics.txt", path: "/metrics", options: asText },
];

/** Longer ones are cut. In characters. */
const maxPart = 64 * 1024 * 1024;

interface PartResult {
  readonly file: string;
  readonly request: string;
  /** In characters. */
  readonly size: number;
  readonly tookMs: number;
  /** Why it is missing. */
  readonly error?: string;
}

export async function bugreport(
  { api, nowMs, terminal }: Context,
  { output = [] }: { readonly output?: readonly string[] },
): Promise<Answer | undefined> {
  const target = fileOf(output, nowMs());
  // Without an agent there is nothing to report.
  const status = await api.get<GatewayStatus>("/v1/status");
  const files: ArchiveFile[] = [
    { name: "status.json", content: withoutSecrets(JSON.stringify(status, undefined, 2)) },
  ];
  const results: PartResult[] = [];
  for (const part of parts) {
    terminal.progress(`reading ${part.path}`);
    const { content, ...result } = await readPart(api, part, nowMs);
    results.push(result);
    if (content !== undefined) files.push({ name: part.file, content });
  }
  const manifest = {
    createdAt: new Date(nowMs()).toISOString(),
    natgwctl: version,
    agent: status.version,
    epoch: status.epoch,
    parts: results,
  };
  files.unshift({ name: "manifest.json", content: JSON.stringify(manifest, undefined, 2) });
  const archived = archive(
    files.map(({ name, content }) => ({ name: `natgw-bugreport/${name}`, content })),
    Math.floor(nowMs() / 1_000),
  );
  if (target === "-") {
    terminal.write(archived);
    return undefined;
  }
  try {
    await writeFile(target, archived, { mode: 0o600 });
  } catch (error) {
    throw new UsageFailure(error instanceof Error ? error.message : String(error));
  }
  return answerOf(target, archived.length, { ...manifest });
}

/** `-o` names the file; a format among its values is the one of the answer. */
function fileOf(output: readonly string[], nowMs: number): string {
  const files = output.filter((one) => !outputFormats.some((format) => format === one));
  const time = new Date(nowMs).toISOString().replace(/[-:]|\..*/g, "");
  return files.at(-1) ?? `natgw-bugreport-${time}.tgz`;
}

async function readPart(
  api: Api,
  { file, method = "get", path, options = {} }: Part,
  nowMs: () => number,
): Promise<PartResult & { readonly content?: string }> {
  const begunMs = nowMs();
  const query = new URLSearchParams(
    Object.entries(options.query ?? {}).map(([name, one]): [string, string] => [name, String(one)]),
  );
  const request = `${method.toUpperCase()} ${path}${query.size === 0 ? "" : `?${query}`}`;
  try {
    const { body } = await api.call<unknown>(method, path, options);
    const text = typeof body === "string" ? body : JSON.stringify(body, undefined, 2);
    const content = withoutSecrets(text.slice(0, maxPart));
    const cut = text.length > maxPart ? { error: `cut after ${maxPart} of ${text.length} characters` } : {};
    return { file, request, size: content.length, tookMs: nowMs() - begunMs, ...cut, content };
  } catch (error) {
    if (!(error instanceof CliFailure)) throw error;
    return { file, request, size: 0, tookMs: nowMs() - begunMs, error: error.message };
  }
}

function answerOf(file: string, size: number, manifest: { readonly parts: readonly PartResult[] }): Answer {
  const missing = manifest.parts.filter(({ error }) => error !== undefined);
  return {
    data: { file, bytes: size, ...manifest },
    names: [file],
    sections: () => [
      {
        block: table<PartResult>(
          [
            { head: "FILE", cell: ({ file }) => file },
            { head: "SIZE", isRight: true, cell: ({ size }) => bytes(size) },
            {
              head: "MISSING",
              gives: "wrap",
              cell: ({ error }): Cell => ({ text: error ?? "", style: "warn" }),
            },
          ],
          [...missing, ...manifest.parts.filter(({ error }) => error === undefined)],
        ),
      },
      {
        block: lines(
          `${file}: ${bytes(size)}, ${counted(manifest.parts.length - missing.length + 2, "file")}`,
        ),
      },
    ],
    exitCode: missing.length === 0 ? 0 : 1,
  };
}
