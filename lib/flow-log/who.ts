/** Who had a port of an EIP at a time. */
import type { Ip } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";
import { type GapRecord, gapEvent, gapReasons, type SessionRecord, type TupleRecord } from "./records.ts";

export interface WhoQuery {
  readonly eip: Ip;
  readonly port: number;
  /** As {@link SessionRecord.protocol}. `undefined`: any. */
  readonly protocol: string | undefined;
  /** Unix time in ms. `undefined`: now, or lately. */
  readonly atMs: number | undefined;
}

export interface WhoItem {
  /** The internal address that had the port. */
  readonly ip: Ip;
  /** Its own port. */
  readonly port: number;
  /** `outward`: it opened the flow. `inward`: it answered at the EIP. */
  readonly direction: "outward" | "inward";
  readonly protocol: string;
  /** The other end. */
  readonly peer: { readonly ip: Ip; readonly port: number };
  /** The object that translated it. */
  readonly object?: ObjectId;
  /** Null: the kernel did not note it. */
  readonly start: string | null;
  /** Null: it lives, unless {@link endLost}. */
  readonly end: string | null;
  /** It lives no more, and the log lost when it ended. */
  readonly endLost?: boolean;
  readonly original: TupleRecord;
  readonly reply: TupleRecord;
  readonly packets?: SessionRecord["packets"];
  readonly bytes?: SessionRecord["bytes"];
}

/** The answers in a record: none, one, or two of a flow from an EIP's port to itself. */
export function whoIn(record: SessionRecord, { eip, port, protocol, atMs }: WhoQuery): readonly WhoItem[] {
  if (protocol !== undefined && record.protocol !== protocol) return [];
  if (atMs !== undefined && !wasThere(record, atMs)) return [];
  const { original, reply, start = null, end = null, packets, bytes } = record;
  const common = {
    protocol: record.protocol,
    start,
    end,
    original,
    reply,
    ...(packets !== undefined && { packets }),
    ...(bytes !== undefined && { bytes }),
  };
  const items: WhoItem[] = [];
  const { source, destination } = record;
  if (source?.eip === eip && source.eipPort === port) {
    items.push({
      ip: original.src,
      port: original.sport,
      direction: "outward",
      peer: { ip: reply.src, port: reply.sport },
      ...(source.object !== undefined && { object: source.object }),
      ...common,
    });
  }
  if (destination?.eip === eip && destination.eipPort === port) {
    items.push({
      ip: reply.src,
      port: reply.sport,
      direction: "inward",
      peer: { ip: original.src, port: original.sport },
      ...(destination.object !== undefined && { object: destination.object }),
      ...common,
    });
  }
  return items;
}

/** A flow without a known start may have been there. */
function wasThere({ start, end }: SessionRecord, atMs: number): boolean {
  if (start !== undefined && Date.parse(start) > atMs) return false;
  return end === undefined || Date.parse(end) >= atMs;
}

/** Parses a line of the log. `undefined` if it is torn, or neither of a session nor a gap. */
export function parseLine(line: string): SessionRecord | GapRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("event" in value) || !("time" in value))
    return undefined;
  if (value.event === gapEvent) return isGap(value) ? value : undefined;
  const isOfSession = value.event === "NAT44 session delete" || value.event === "NAT44 session create";
  return isOfSession && isSession(value) ? value : undefined;
}

function isGap(value: object): value is GapRecord {
  return "reason" in value && gapReasons.some((reason) => reason === value.reason);
}

/** A popular port of a DNAT can have had as many flows as the conntrack table has entries. */
const maxBegun = 10_000;

/** Of flows whose begin was logged (`NATGW_FLOW_LOG=all`), those whose end is missing: of the last 10,000 without an end. */
export class LostEnds {
  readonly #query: WhoQuery;
  readonly #begun = new Map<string, SessionRecord>();

  constructor(query: WhoQuery) {
    this.#query = query;
  }

  /** Takes the sessions of the log in its order. Flows with the same addresses and ports later on do not count. */
  add(record: SessionRecord): void {
    const isBegin = record.event === "NAT44 session create";
    const start = record.start ?? (isBegin ? record.time : undefined);
    const { atMs } = this.#query;
    if (atMs !== undefined && start !== undefined && Date.parse(start) > atMs) return;
    const key = keyOf(record);
    // Also puts a new flow behind all others.
    this.#begun.delete(key);
    if (!isBegin || start === undefined) return;
    this.#begun.set(key, { ...record, start });
    const [oldest = key] = this.#begun.keys();
    if (this.#begun.size > maxBegun) this.#begun.delete(oldest);
  }

  /** Without those that live. */
  items(living: readonly WhoItem[]): readonly WhoItem[] {
    for (const item of living) this.#begun.delete(keyOf(item));
    return [...this.#begun.values()].flatMap((record) =>
      whoIn(record, this.#query).map((item): WhoItem => ({ ...item, endLost: true })),
    );
  }
}

function keyOf({
  protocol,
  original,
  reply,
}: Pick<SessionRecord, "protocol" | "original" | "reply">): string {
  const ends = [original, reply].map(({ src, dst, sport, dport }) => [src, dst, sport, dport]);
  return [protocol, ...ends].join();
}

/** A disk can damage a line. Only what {@link whoIn} looks into is checked. */
function isSession(value: object): value is SessionRecord {
  const record = value as Partial<Record<keyof SessionRecord, unknown>>;
  const isText = (member: unknown) => typeof member === "string";
  const isObject = (member: unknown) => typeof member === "object" && member !== null;
  return (
    isText(record.protocol) &&
    [record.original, record.reply].every(isObject) &&
    [record.start, record.end].every((time) => time === undefined || isText(time)) &&
    [record.source, record.destination].every((end) => end === undefined || isObject(end))
  );
}
