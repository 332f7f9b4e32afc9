/** `natgwctl audit`: who wrote what. */
import { ageOf } from "../../../lib/text/quantities.ts";
import { type Cell, type Column, lines, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseNumber, parseTime } from "../arguments.ts";
import type { Context } from "../context.ts";
import { value } from "../objects.ts";

export interface AuditOptions {
  readonly since?: string;
  readonly limit: string;
}

type AuditRecord = Readonly<Record<string, unknown>>;

interface Audit {
  readonly items?: readonly AuditRecord[];
}

export async function audit({ api, nowMs }: Context, { since, limit }: AuditOptions): Promise<Answer> {
  const query = {
    limit: parseNumber(limit, "--limit", 1, 1_000),
    since: since === undefined ? undefined : new Date(parseTime(since, "--since", nowMs())).toISOString(),
  };
  const document = await api.get<Audit>("/v1/audit", { query });
  const { items = [] } = document;
  return {
    data: document,
    names: [...new Set(items.map((item) => whoText(item)))],
    sections: () =>
      items.length === 0
        ? [{ block: lines({ text: "no writes", style: "dim" }) }]
        : [{ block: table(columns(nowMs()), items) }],
  };
}

function columns(nowMs: number): readonly Column<AuditRecord>[] {
  return [
    {
      head: "AGE",
      isRight: true,
      cell: ({ time }) => ageOf(typeof time === "string" ? time : undefined, nowMs),
    },
    { head: "WHO", cell: whoText, gives: "end" },
    { head: "WHAT", cell: whatText, gives: "middle" },
    { head: "RESULT", cell: resultCell },
    { head: "GENERATION", cell: generationText, isWide: true },
  ];
}

function whoText({ who, actor }: AuditRecord): string {
  const given = who ?? actor;
  if (typeof given !== "object" || given === null) return value(given);
  return Object.entries(given)
    .map(([key, one]) => `${key} ${value(one)}`)
    .join(" ");
}

function whatText({ what, method, path, action }: AuditRecord): string {
  return what === undefined ? [method ?? action, path].filter(Boolean).map(value).join(" ") : value(what);
}

function resultCell({ result, status }: AuditRecord): Cell {
  const text = value(result ?? status);
  return /^(?:2\d\d|ok|stored|done|accepted)/.test(text) ? text : { text, style: "bad" };
}

function generationText({ generation }: AuditRecord): string {
  return value(generation);
}
