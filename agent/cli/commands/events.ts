/** `natgwctl events`: those that the agent keeps, then each as it comes. */
import { setTimeout as sleep } from "node:timers/promises";
import { lines, table } from "../../../lib/text/view.ts";
import { Absence } from "../absence.ts";
import type { Answer } from "../answer.ts";
import { parseDuration, parseKind } from "../arguments.ts";
import type { Context } from "../context.ts";
import {
  type EventDocument,
  type EventQuery,
  eventColumns,
  objectOf,
  readEvents,
  readRecent,
  timeOf,
  whatOf,
} from "../events.ts";
import { UnavailableFailure } from "../failures.ts";
import { recordPrinter } from "../record-printer.ts";

export interface EventOptions {
  readonly follow?: boolean;
  readonly since?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly type?: string;
}

/** Without `--since`, as far back as a glance at the last hour needs. */
const defaultSince = "1h";
const maxListed = 1_000;
const retryMs = 1_000;

export async function events(context: Context, options: EventOptions): Promise<Answer | undefined> {
  const { follow = false, since, kind, name, type } = options;
  const query: EventQuery = {
    ...(kind !== undefined && { kind: parseKind(kind).replace(/s$/, "") }),
    ...(name !== undefined && { name }),
    ...(type !== undefined && { type }),
    ...(since !== undefined ? { since: sinceText(since) } : follow ? {} : { since: defaultSince }),
  };
  if (follow) return followEvents(context, query);
  const items = await readRecent(context.api, query, maxListed);
  return {
    data: { items },
    names: items.flatMap(({ id }) => id ?? []),
    sections: (isWide) =>
      items.length === 0
        ? [{ block: lines({ text: "no events", style: "dim" }) }]
        : [{ block: table(eventColumns(context.nowMs()), items, isWide) }],
  };
}

/** An id as it is; a duration in a unit that the agent knows. */
function sinceText(since: string): string {
  if (since.includes(".")) return since;
  const agoMs = parseDuration(since, "--since");
  return agoMs % 1_000 === 0 ? `${agoMs / 1_000}s` : `${agoMs}ms`;
}

/** Ends only by Ctrl-C, or by a reader that goes away: it connects again after the agent was away, and goes on where it was. */
async function followEvents(context: Context, query: EventQuery): Promise<undefined> {
  const print = recordPrinter<EventDocument>(context, {
    dataOf: (event) => event,
    nameOf: ({ id }) => id ?? "",
    head: lineOf("TIME", "TYPE", "OBJECT", "WHAT"),
    lineOf: (event, shorten) =>
      lineOf(clockOf(event), event.type, shorten(objectOf(event) ?? "-", objectWidth), whatOf(event)),
  });
  let since = query.since;
  let isConnected = false;
  const absence = new Absence(context.terminal);
  for (;;) {
    const rest = { ...query, ...(since !== undefined && { since }) };
    try {
      for await (const event of readEvents(context.api, rest, new AbortController().signal)) {
        isConnected = true;
        absence.end();
        since = event.id ?? since;
        if (event.type !== "comment") print(event);
      }
    } catch (error) {
      if (!isConnected || !(error instanceof UnavailableFailure)) throw error;
      absence.tell(error);
    }
    await sleep(retryMs);
  }
}

const objectWidth = 30;

/** Events come one by one, so their columns have fixed widths. */
function lineOf(time: string, type: string, object: string, what: string): string {
  return `${time.padEnd(8)}  ${type.padEnd(8)}  ${object.padEnd(objectWidth)}  ${what}`.trimEnd();
}

/** The time of day, which stays right while the line is on the screen. */
function clockOf(event: EventDocument): string {
  return /T(\d\d:\d\d:\d\d)/.exec(timeOf(event) ?? "")?.[1] ?? "-";
}
