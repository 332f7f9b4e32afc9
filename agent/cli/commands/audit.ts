/** `natgwctl audit`: who wrote what, and how it ended. */
import { ageOf, counted } from "../../../lib/text/quantities.ts";
import { type Cell, type Column, lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseNumber, parseTime } from "../arguments.ts";
import type { Context } from "../context.ts";
import type { Audit } from "../documents.ts";
import { value } from "../objects.ts";

type AuditRecord = Audit["items"][number];

export interface AuditOptions {
  readonly since?: string;
  readonly limit: string;
}

export async function audit({ api, nowMs }: Context, { since, limit }: AuditOptions): Promise<Answer> {
  const query = {
    limit: parseNumber(limit, "--limit", 1, 1_000),
    since: since === undefined ? undefined : new Date(parseTime(since, "--since", nowMs())).toISOString(),
  };
  const document = await api.get<Audit>("/v1/audit", { query });
  return {
    data: document,
    names: [...new Set(document.items.map(whoText))],
    sections: () => sectionsOf(document, nowMs()),
  };
}

function sectionsOf({ enabled, items }: Audit, nowMs: number): readonly Section[] {
  if (!enabled)
    return [{ block: lines({ text: "the agent keeps no audit log (NATGW_AUDIT_LOG)", style: "warn" }) }];
  if (items.length === 0) return [{ block: lines({ text: "no writes", style: "dim" }) }];
  return [{ block: table(columns(nowMs), items) }];
}

function columns(nowMs: number): readonly Column<AuditRecord>[] {
  return [
    { head: "AGE", isRight: true, cell: ({ time }) => ageOf(time, nowMs) },
    { head: "WHO", cell: whoText, gives: "end" },
    { head: "WHAT", cell: whatText, gives: "middle" },
    { head: "RESULT", cell: resultCell },
    { head: "REVISION", cell: revisionText, isRight: true },
  ];
}

function whoText({ identity, client, lost }: AuditRecord): string {
  if (identity === undefined) return lost === undefined ? value(client) : "-";
  const { kind, uid, pid, name, subject } = identity;
  const which =
    name ?? subject ?? (uid === undefined ? "" : `uid ${uid}${pid === undefined ? "" : ` pid ${pid}`}`);
  return [kind, which, client].filter((part) => part !== undefined && part !== "").join(" ");
}

function whatText({ method, path, query = {}, lost }: AuditRecord): Cell {
  if (lost !== undefined) return { text: `${counted(lost, "record")} lost`, style: "warn" };
  const parameters = Object.entries(query).map(([name, one]) => `${name}=${one}`);
  return `${value(method)} ${value(path)}${parameters.length === 0 ? "" : `?${parameters.join("&")}`}`;
}

function resultCell({ status, code }: AuditRecord): Cell {
  if (status === undefined) return "-";
  const text = code === undefined ? String(status) : `${status} ${code}`;
  return status < 400 ? text : { text, style: "bad" };
}

function revisionText({ before, after }: AuditRecord): string {
  if (after === undefined) return "-";
  const old = before?.revision;
  return old === undefined || old === after.revision ? String(after.revision) : `${old} > ${after.revision}`;
}
