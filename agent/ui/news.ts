/** From events of the agent to lines of the feed. */
import type { Transition } from "./objects.ts";
import type { ServerEvent } from "./sse.ts";
import { shortDuration } from "./time.ts";
import type { Change, GatewayObject } from "./types.ts";

/** A line of the feed. */
export interface Entry {
  readonly at: string;
  readonly level: "good" | "warn" | "bad" | "info";
  readonly type: string;
  readonly text: string;
  /** In the words of their tools. */
  readonly changes?: readonly Change[];
  readonly total?: number;
  /** The object that it is about. */
  readonly id?: string;
}

/** What `data` of an event may have. Everything is optional: an event that lacks something is still shown. */
export interface EventData {
  readonly kind?: string;
  readonly name?: string;
  readonly deleted?: boolean;
  readonly status?: GatewayObject["status"];
  readonly total?: number;
  readonly changes?: readonly Change[];
  readonly changed?: number;
  readonly failed?: number;
  readonly took?: number;
  readonly reasons?: readonly string[];
  readonly flowsRemoved?: number;
  readonly converged?: boolean;
  readonly error?: { readonly code?: string; readonly message?: string };
  readonly added?: readonly string[];
  readonly removed?: readonly string[];
  readonly active?: boolean;
  readonly message?: string;
  readonly time?: string;
}

/** `undefined` if it is not JSON. */
export function dataOf({ data }: ServerEvent): EventData | undefined {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A line for everything but objects. `undefined` if it is nothing to tell: a pass that changed nothing. */
export function entryOf(type: string, data: EventData, now: string): Entry | undefined {
  const at = data.time ?? now;
  const { total = data.changes?.length ?? 0, changes = [] } = data;
  switch (type) {
    case "drift":
      return {
        at,
        type,
        level: "warn",
        text: `Another program made ${count(total, "change")}. To undo:`,
        changes,
        total,
      };
    case "repair":
      return { at, type, level: "good", text: `Repaired ${count(total, "change")}`, changes, total };
    case "pass":
      return passEntry(at, data);
    case "degraded":
      return degradedEntry(at, data);
    case "conflict": {
      const name = data.name ?? "an EIP";
      const text = `${name}: ${data.message ?? "another host holds it"}`;
      const id = data.name === undefined ? {} : { id: `eips/${data.name}` };
      return data.active === false
        ? { at, type, level: "good", text: `${name}: no other host holds it any more`, ...id }
        : { at, type, level: "bad", text, ...id };
    }
    case "resync":
      return { at, type, level: "info", text: "Some events were missed. Everything was read again." };
    default:
      return undefined;
  }
}

function passEntry(at: string, data: EventData): Entry | undefined {
  const { changed = 0, failed = 0, took, reasons = [], flowsRemoved = 0, error } = data;
  const type = "pass";
  if (error !== undefined)
    return { at, type, level: "bad", text: error.message ?? error.code ?? "could not run" };
  if (changed === 0 && failed === 0 && flowsRemoved === 0) return undefined;
  const parts = [
    count(changed, "change"),
    ...(failed > 0 ? [`${count(failed, "step")} failed`] : []),
    ...(flowsRemoved > 0 ? [`${count(flowsRemoved, "flow")} ended`] : []),
    ...(took === undefined ? [] : [shortDuration(took)]),
  ];
  const why = reasons.length === 0 ? "" : ` (${reasons.slice(0, 3).join(", ")})`;
  return { at, type, level: failed > 0 ? "bad" : "info", text: parts.join(", ") + why };
}

function degradedEntry(at: string, { added = [], removed = [] }: EventData): Entry {
  const parts = [...added.map((reason) => `+ ${reason}`), ...removed.map((reason) => `− ${reason}`)];
  const level = added.length > 0 ? "bad" : "good";
  return { at, type: "degraded", level, text: parts.join(", ") || "the message of a reason changed" };
}

export interface ChangedObject {
  readonly id: string;
  readonly transition: Transition | "deleted";
  readonly why: string;
}

/** A few changed objects one by one, many as a sum. */
export function objectEntries(changed: readonly ChangedObject[], at: string): readonly Entry[] {
  const news = changed.filter(({ transition }) => transition !== "same");
  if (news.length > 5) {
    const sums = Map.groupBy(news, ({ transition }) => transition);
    const text = Array.from(sums, ([transition, all]) => `${all.length} ${transition}`).join(", ");
    return [{ at, type: "objects", level: sums.has("not ready") ? "warn" : "info", text }];
  }
  return news.map(({ id, transition, why }) => ({
    at,
    type: "object",
    level: transition === "not ready" ? "bad" : transition === "ready" ? "good" : "info",
    text: `${id}: ${transition}${why === "" ? "" : `, ${why}`}`,
    id,
  }));
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
