/** The agent's events: what it saw and did. */
import { ageOf, counted, took } from "../../lib/text/quantities.ts";
import type { Cell, Column } from "../../lib/text/view.ts";
import type { Api } from "./api.ts";
import type { Condition } from "./documents.ts";
import { UnavailableFailure } from "./failures.ts";
import { value } from "./objects.ts";
import { parseEvents } from "./server-sent-events.ts";

export interface EventDocument {
  readonly id: string | null;
  readonly type: string;
  readonly time?: string;
  readonly revision?: number;
  readonly [member: string]: unknown;
}

export interface EventQuery {
  /** An id, or a duration back from now. */
  readonly since?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly type?: string;
  /** False: the stream ends with the events that there are. */
  readonly follow?: boolean;
}

/** A comment, such as a heartbeat, may have moved the id. */
export async function* readEvents(
  api: Api,
  query: EventQuery,
  signal: AbortSignal,
): AsyncGenerator<EventDocument | { readonly id: string | null; readonly type: "comment" }> {
  const text = await api.stream("/v1/events", { query: { ...query }, signal });
  try {
    for await (const { id, type, data } of parseEvents(text)) {
      if (type === "comment") yield { id: id ?? null, type };
      else yield { id: id ?? null, type, ...membersOf(data) };
    }
  } catch (error) {
    if (signal.aborted) return;
    throw new UnavailableFailure(
      `the event stream broke off: ${error instanceof Error ? error.message : error}`,
    );
  }
}

function membersOf(data: string): object {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Shown as it is.
  }
  return { data };
}

/** The last `most` events that the agent still keeps. */
export async function readRecent(
  api: Api,
  query: EventQuery,
  most: number,
): Promise<readonly EventDocument[]> {
  const kept: EventDocument[] = [];
  for await (const event of readEvents(api, { ...query, follow: false }, new AbortController().signal)) {
    if (event.type === "comment") continue;
    kept.push(event);
    if (kept.length > most) kept.shift();
  }
  return kept;
}

export function eventColumns(nowMs: number): readonly Column<EventDocument>[] {
  return [
    { head: "AGE", cell: (event) => ageOf(timeOf(event), nowMs), isRight: true },
    { head: "TYPE", cell: typeCell },
    { head: "OBJECT", cell: (event) => objectOf(event) ?? "-", gives: "middle" },
    { head: "ID", cell: ({ id }) => id ?? "-", isWide: true },
    { head: "REVISION", cell: ({ revision }) => value(revision), isRight: true, isWide: true },
    { head: "WHAT", cell: whatOf, gives: "wrap" },
  ];
}

/** Of an object its last change of readiness: it is shown as it is, not as it was. */
export function timeOf({ time, status }: EventDocument): string | undefined {
  return time ?? readyIn(status)?.lastTransitionTime;
}

function readyIn(status: unknown): Condition | undefined {
  const { conditions = [] } = (status ?? {}) as { readonly conditions?: readonly Condition[] };
  return conditions.find(({ type }) => type === "Ready");
}

function typeCell({ type }: EventDocument): Cell {
  const isBad = ["degraded", "conflict", "resync", "drift"].includes(type);
  return isBad ? { text: type, style: "warn" } : type;
}

/** `fips/fip-a`, if the event is about one object. */
export function objectOf({ kind, name, object }: EventDocument): string | undefined {
  if (typeof kind === "string" && typeof name === "string") return `${kind.toLowerCase()}s/${name}`;
  return typeof object === "string" ? object : undefined;
}

/** What happened, in a line. An event of a type that is not known here shows its members as they are. */
export function whatOf(event: EventDocument): string {
  switch (event.type) {
    case "object":
      return event.deleted === true ? "deleted" : conditionText(event.status);
    case "drift":
    case "repair":
      return changesText(event);
    case "pass":
      return passText(event);
    case "degraded":
      return degradedText(event);
    case "conflict":
      return event.active === false ? "another host no longer holds it" : text(event.message);
    case "resync":
      return `events are missing: ${text(event.message)}`;
    default:
      return restText(event);
  }
}

function conditionText(status: unknown): string {
  const ready = readyIn(status);
  if (ready === undefined) return "written";
  const reason = ready.reason === "Ready" ? "" : ` ${ready.reason}`;
  const message = ready.message === "" ? "" : `: ${ready.message}`;
  return `${ready.status === "True" ? "Ready" : "not Ready"}${reason}${message}`;
}

function changesText({ total, changes, delayed }: EventDocument): string {
  const [first] = Array.isArray(changes) ? (changes as readonly { readonly text?: unknown }[]) : [];
  const late = typeof delayed === "number" && delayed > 0 ? `, ${delayed} delayed` : "";
  return `${counted(Number(total), "change")}${late}${first === undefined ? "" : `: ${text(first.text)}`}`;
}

function passText({ converged, changed, failed, took: seconds, reasons, error }: EventDocument): string {
  const why = Array.isArray(reasons) ? ` (${reasons.join(", ")})` : "";
  if (typeof error === "object" && error !== null)
    return `could not run: ${text((error as { readonly message?: unknown }).message)}`;
  const state = converged === true ? "converged" : "not converged";
  return `${state}, ${counted(Number(changed), "change")}, ${text(failed)} failed, ${took(Number(seconds))}${why}`;
}

function degradedText({ added, removed }: EventDocument): string {
  const list = (sign: string, reasons: unknown) =>
    Array.isArray(reasons) ? reasons.map((reason) => `${sign}${text(reason)}`) : [];
  return [...list("+", added), ...list("-", removed)].join(" ") || "other messages";
}

const known = new Set(["id", "type", "time", "revision", "kind", "name", "object", "epoch"]);

function restText(event: EventDocument): string {
  const rest = Object.entries(event).filter(([key]) => !known.has(key));
  return rest.map(([key, one]) => `${key}=${value(one)}`).join(" ");
}

function text(given: unknown): string {
  return typeof given === "string" ? given : value(given);
}
