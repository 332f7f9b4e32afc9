/**
 * `natgwctl bugreport`: everything that a report of a fault needs, as one archive. What could not be read is named in it. Where
 * no agent answers on the socket, natgwctl reads what it can by itself.
 */
import { writeFile } from "node:fs/promises";
import { collections } from "../../../lib/model/names.ts";
import { bytes, counted } from "../../../lib/text/quantities.ts";
import { type Cell, lines, table } from "../../../lib/text/view.ts";
import { version } from "../../version.ts";
import { type Answer, outputFormats } from "../answer.ts";
import type { Api, CallOptions } from "../api.ts";
import { type ArchiveFile, archive } from "../archive.ts";
import type { Context } from "../context.ts";
import type { GatewayStatus } from "../documents.ts";
import { CliFailure, UnavailableFailure, UsageFailure } from "../failures.ts";
import { withoutSecrets } from "../secrets.ts";

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
  /** The request to the agent, or the commands and files. */
  readonly request: string;
  /** In characters. */
  readonly size: number;
  readonly tookMs: number;
  /** Why it is missing. */
  readonly error?: string;
}

interface Source extends Pick<PartResult, "file" | "request"> {
  read(): Promise<string>;
}

export async function bugreport(
  { api, nowMs, terminal }: Context,
  { output = [] }: { readonly output?: readonly string[] },
): Promise<Answer | undefined> {
  const target = fileOf(output, nowMs());
  const status = await statusOf(api);
  const isThere = !(status instanceof CliFailure);
  const sources = isThere ? agentSources(api) : await localSources(api);
  const files: ArchiveFile[] = isThere
    ? [{ name: "status.json", content: withoutSecrets(JSON.stringify(status, undefined, 2)) }]
    : [];
  const results: PartResult[] = [];
  for (const source of sources) {
    terminal.progress(`reading ${source.request}`);
    const { content, ...result } = await readPart(source, nowMs);
    results.push(result);
    if (content !== undefined) files.push({ name: source.file, content });
  }
  const manifest = {
    createdAt: new Date(nowMs()).toISOString(),
    natgwctl: version,
    agent: isThere ? status.version : null,
    epoch: isThere ? status.epoch : null,
    ...(!isThere && { error: status.message, readBy: "natgwctl, in its own network namespace" }),
    parts: results,
  };
  files.unshift({ name: "manifest.json", content: JSON.stringify(manifest, undefined, 2) });
  const archived = archive(
    files.map(({ name, content }) => ({ name: `natgw-bugreport/${name}`, content })),
    Math.floor(nowMs() / 1_000),
  );
  if (target === "-") {
    terminal.write(archived);
    if (!isThere) throw status;
    return undefined;
  }
  try {
    await writeFile(target, archived, { mode: 0o600 });
  } catch (error) {
    throw new UsageFailure(error instanceof Error ? error.message : String(error));
  }
  const answer = answerOf(target, archived.length, files.length, { ...manifest });
  return isThere ? answer : { ...answer, failure: status };
}

/** A failure if there is no agent, but something to read without one. */
async function statusOf(api: Api): Promise<GatewayStatus | UnavailableFailure> {
  try {
    return await api.get<GatewayStatus>("/v1/status");
  } catch (error) {
    // Elsewhere there is nothing to read but the agent.
    if (error instanceof UnavailableFailure && api.isLocal) return error;
    throw error;
  }
}

function agentSources(api: Api): readonly Source[] {
  return parts.map((part) => ({
    file: part.file,
    request: requestOf(part),
    async read() {
      const { body } = await api.call<unknown>(part.method ?? "get", part.path, part.options);
      return typeof body === "string" ? body : JSON.stringify(body, undefined, 2);
    },
  }));
}

/** What needs the agent is named as missing. */
async function localSources(api: Api): Promise<readonly Source[]> {
  const { localParts } = await import("../local-report.ts");
  const local = localParts(process.env);
  const found = new Set(local.map(({ file }) => file));
  const missing = agentSources(api).filter(({ file }) => !found.has(file));
  const read = () => Promise.reject(new UnavailableFailure("only the agent knows it"));
  return [...local, ...missing.map((source) => ({ ...source, read }))];
}

function requestOf({ method = "get", path, options = {} }: Part): string {
  const query = new URLSearchParams(
    Object.entries(options.query ?? {}).map(([name, one]): [string, string] => [name, String(one)]),
  );
  return `${method.toUpperCase()} ${path}${query.size === 0 ? "" : `?${query}`}`;
}

/** `-o` names the file; a format among its values is the one of the answer. */
function fileOf(output: readonly string[], nowMs: number): string {
  const files = output.filter((one) => !outputFormats.some((format) => format === one));
  const time = new Date(nowMs).toISOString().replace(/[-:]|\..*/g, "");
  return files.at(-1) ?? `natgw-bugreport-${time}.tgz`;
}

async function readPart(
  { file, request, read }: Source,
  nowMs: () => number,
): Promise<PartResult & { readonly content?: string }> {
  const begunMs = nowMs();
  try {
    const text = await read();
    const content = withoutSecrets(text.slice(0, maxPart));
    const cut = text.length > maxPart ? { error: `cut after ${maxPart} of ${text.length} characters` } : {};
    return { file, request, size: content.length, tookMs: nowMs() - begunMs, ...cut, content };
  } catch (error) {
    // The system's have a code: a tool or a file that is not there. Everything else is a bug.
    if (!(error instanceof CliFailure) && !(error instanceof Error && "code" in error)) throw error;
    return { file, request, size: 0, tookMs: nowMs() - begunMs, error: error.message.trim() };
  }
}

function answerOf(
  file: string,
  size: number,
  count: number,
  manifest: { readonly parts: readonly PartResult[] },
): Answer {
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
        block: lines(`${file}: ${bytes(size)}, ${counted(count, "file")}`),
      },
    ],
    exitCode: missing.length === 0 ? 0 : 1,
  };
}
