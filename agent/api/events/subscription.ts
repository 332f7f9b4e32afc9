/** What a reader of events asks for: filters, and where it goes on. */
import { parseEventId } from "../../../lib/events/event-id.ts";
import { type EventType, eventTypes } from "../../../lib/events/event-types.ts";
import { type EventFilter, typesOf } from "../../../lib/events/filter.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { type Kind, kinds } from "../../../lib/model/names.ts";
import { parseDurationMs } from "../../config/values.ts";
import type { EventsPort } from "../ports.ts";
import { invalid } from "../validation.ts";
import type { Subscription } from "./event-stream.ts";
import { frame } from "./frames.ts";

export interface EventQuery {
  readonly since?: string;
  readonly strict?: string;
  readonly follow?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly type?: string;
}

/** Why events are missing: of another epoch, of an agent before this one, no longer kept, or not known here. */
export type ResyncReason = "epoch" | "restart" | "expired" | "unknown";

/** Where a reader goes on, and what it misses. */
interface Start {
  readonly after: number;
  readonly missing: ResyncReason | undefined;
}

const explanations: Readonly<Record<ResyncReason, string>> = {
  epoch: "the id is of another epoch",
  restart: "the agent started since",
  expired: "the events since then are no longer kept",
  unknown: "the agent did not give that id",
};

/**
 * @param lastEventId the header `Last-Event-ID`: a browser sends it when it connects again, with the query of the first time
 * @param revision of the desired set, for the resync event
 * @throws `invalid` for a bad parameter; `events-expired` if events are missing and the reader does not want that
 */
export function subscriptionOf(
  query: EventQuery,
  lastEventId: string | undefined,
  events: EventsPort,
  revision: number,
): Subscription {
  const filter: EventFilter = {
    ...(query.type !== undefined && { types: listOf(query.type, "type", parseType) }),
    ...(query.kind !== undefined && { kinds: listOf(query.kind, "kind", parseKind) }),
    ...(query.name !== undefined && { names: new Set(query.name.split(",")) }),
  };
  const { after, missing } = startOf(query.since, lastEventId, filter, events);
  const isFollowing = query.follow !== "false";
  if (missing === undefined) return { filter, after, opening: "", isFollowing };
  const message = `${explanations[missing]}: list again`;
  if (query.strict === "true")
    throw new GatewayError("events-expired", message, { details: { reason: missing } });
  const data = JSON.stringify({ revision, reason: missing, message });
  const opening = frame(events.epoch, after, "resync", data);
  return { filter, after, opening, isFollowing };
}

function startOf(
  since: string | undefined,
  lastEventId: string | undefined,
  filter: EventFilter,
  events: EventsPort,
): Start {
  if (lastEventId !== undefined && lastEventId !== "") return idStart(lastEventId, filter, events);
  if (since === undefined) return { after: events.sequence, missing: undefined };
  const agoMs = parseDurationMs(since);
  if (agoMs !== undefined) return timeStart(agoMs, filter, events);
  if (parseEventId(since) !== undefined) return idStart(since, filter, events);
  throw invalid([
    { pointer: "/query/since", message: "must be the id of an event, or a duration such as 10m" },
  ]);
}

function idStart(text: string, filter: EventFilter, events: EventsPort): Start {
  const id = parseEventId(text);
  const missing = id === undefined ? "unknown" : missingSince(id.epoch, id.sequence, filter, events);
  const isKnown = id !== undefined && missing === undefined;
  return { after: isKnown ? id.sequence : events.sequence, missing };
}

function missingSince(
  epoch: string,
  sequence: number,
  filter: EventFilter,
  events: EventsPort,
): ResyncReason | undefined {
  if (epoch !== events.epoch) return "epoch";
  if (sequence < events.start) return "restart";
  if (sequence > events.sequence) return "unknown";
  return sequence < events.log.floor(typesOf(filter)) ? "expired" : undefined;
}

/** As much of that time as there is: what is missing at its begin does not keep the rest from the reader. */
function timeStart(agoMs: number, filter: EventFilter, events: EventsPort): Start {
  const wanted = events.sequenceAgo(agoMs);
  const floor = events.log.floor(typesOf(filter));
  if (wanted === undefined) return { after: Math.max(events.start, floor), missing: "restart" };
  return wanted < floor ? { after: floor, missing: "expired" } : { after: wanted, missing: undefined };
}

function listOf<T>(text: string, name: string, parse: (word: string) => T | undefined): ReadonlySet<T> {
  const values = text.split(",").map(parse);
  const known = values.filter((value) => value !== undefined);
  if (known.length === values.length) return new Set(known);
  const allowed = name === "kind" ? kinds : eventTypes;
  throw invalid([{ pointer: `/query/${name}`, message: `must be one or more of ${allowed.join(", ")}` }]);
}

function parseType(word: string): EventType | undefined {
  return eventTypes.find((type) => type === word);
}

/** `eip`, and as documents and paths write it: `Eip`, `eips`. */
function parseKind(word: string): Kind | undefined {
  const lower = word.toLowerCase();
  return kinds.find((kind) => lower === kind || lower === `${kind}s`);
}
