/** Searches the log on disk for who had a port of an EIP. */
import type { FileHandle } from "node:fs/promises";
import { type GapRecord, gapEvent, gapMark, markOf, type SessionRecord } from "../../lib/flow-log/records.ts";
import { LostEnds, parseLine, type WhoItem, type WhoQuery, whoIn } from "../../lib/flow-log/who.ts";
import { openRegular } from "../store/file-id.ts";
import { listSegments, type Segment } from "./segments.ts";

export interface LogSearch {
  /** In the order in which they ended. Of a search without a time the last ones. */
  readonly items: readonly WhoItem[];
  /** Times for which the log is incomplete, from the time asked for on. */
  readonly gaps: readonly GapRecord[];
  /** Where the log begins. `undefined`: it is empty. */
  readonly logFromMs: number | undefined;
  /** True if there was more than the limits allow. */
  readonly isCut: boolean;
}

const maxGaps = 100;
const chunkBytes = 1 << 20;
const newline = 10;

/**
 * A record is written when its flow ends, so one of a flow at `query.atMs` is in a segment that was written then or
 * later. Without a time, it goes from the newest segment backwards until there are `limit` items.
 */
export async function searchLog(
  directory: string,
  query: WhoQuery,
  limit: number,
  signal: AbortSignal,
): Promise<LogSearch> {
  const segments = await listSegments(directory);
  const { atMs } = query;
  const gaps: GapRecord[] = [];
  let items: WhoItem[] = [];
  let isCut = false;
  const onGap = (gap: GapRecord) => {
    if (atMs !== undefined && Date.parse(gap.time) < atMs) return;
    if (gaps.length < maxGaps) gaps.push(gap);
    else isCut = true;
  };
  const logFromMs = segments[0]?.fromMs;
  if (atMs === undefined) {
    for (const segment of segments.toReversed()) {
      const found: WhoItem[] = [];
      const onSession = eachOf(query, (item) => keepLast(found, item, limit));
      await readSegment(segment, query, onSession, onGap, signal);
      items = [...found, ...items].slice(-limit);
      if (items.length >= limit) break;
    }
    return { items, gaps, logFromMs, isCut };
  }
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1];
    // Everything in it was written before.
    if (next !== undefined && next.fromMs < atMs) continue;
    const onItem = (item: WhoItem) => {
      if (items.length < limit) items.push(item);
      else isCut = true;
    };
    await readSegment(segment, query, eachOf(query, onItem), onGap, signal);
    if (isCut) break;
  }
  return { items, gaps, logFromMs, isCut };
}

/**
 * Flows at `query.atMs` whose begin was logged, and whose end was lost in a gap. Reads the whole log.
 *
 * @param living those of now
 */
export async function searchLostEnds(
  directory: string,
  query: WhoQuery,
  living: readonly WhoItem[],
  signal: AbortSignal,
): Promise<readonly WhoItem[]> {
  const found = new LostEnds(query);
  for (const segment of await listSegments(directory))
    await readSegment(
      segment,
      query,
      (session) => found.add(session),
      () => undefined,
      signal,
    );
  return found.items(living);
}

/** The answers in sessions that ended. */
function eachOf(query: WhoQuery, onItem: (item: WhoItem) => void): (session: SessionRecord) => void {
  return (session) => {
    if (session.event !== "NAT44 session create") for (const item of whoIn(session, query)) onItem(item);
  };
}

function keepLast(items: WhoItem[], item: WhoItem, limit: number): void {
  items.push(item);
  if (items.length > limit) items.shift();
}

/** Only lines with one of the marks are decoded. A last line that is not complete yet is left out. */
async function readSegment(
  { path }: Segment,
  query: WhoQuery,
  onSession: (session: SessionRecord) => void,
  onGap: (gap: GapRecord) => void,
  signal: AbortSignal,
): Promise<void> {
  const marks = [Buffer.from(markOf(query.eip, query.port)), Buffer.from(gapMark)];
  const onLine = (line: string) => {
    const record = parseLine(line);
    if (record === undefined) return;
    if (record.event === gapEvent) onGap(record);
    else onSession(record);
  };
  const file = await openRegular(path);
  // The ring went on.
  if (file === undefined) return;
  try {
    await readLines(file, marks, onLine, signal);
  } finally {
    await file.close();
  }
}

async function readLines(
  file: FileHandle,
  marks: readonly Buffer[],
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(chunkBytes);
  let kept = 0;
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, kept, buffer.length - kept);
    if (bytesRead === 0) return;
    const filled = kept + bytesRead;
    const complete = buffer.lastIndexOf(newline, filled - 1) + 1;
    visitMarked(buffer.subarray(0, complete), marks, onLine);
    // No line of ours is as long as the buffer: this is not ours.
    kept = complete === 0 && filled === buffer.length ? 0 : filled - complete;
    if (kept > 0) buffer.copy(buffer, 0, complete, filled);
  }
}

/** Visits each line that contains a mark once, in order. */
function visitMarked(lines: Buffer, marks: readonly Buffer[], onLine: (line: string) => void): void {
  const next = marks.map((mark) => lines.indexOf(mark));
  for (;;) {
    const at = Math.min(...next.filter((place) => place >= 0));
    if (!Number.isFinite(at)) return;
    const start = at === 0 ? 0 : lines.lastIndexOf(newline, at - 1) + 1;
    const end = lines.indexOf(newline, at);
    onLine(lines.toString("latin1", start, end));
    for (const [index, mark] of marks.entries()) {
      const place = next[index] ?? -1;
      // A mark that was not passed yet is not searched again.
      if (place >= 0 && place <= end) next[index] = lines.indexOf(mark, end);
    }
  }
}
