/** `natgwctl get`: objects of a kind, or of all. */
import { type Collection, collections } from "../../../lib/model/names.ts";
import { ageOf } from "../../../lib/text/quantities.ts";
import { lines, type Section, table } from "../../../lib/text/view.ts";
import { Absence } from "../absence.ts";
import type { Answer } from "../answer.ts";
import type { Api } from "../api.ts";
import { parseFlag, parsePossibleReference } from "../arguments.ts";
import type { Context } from "../context.ts";
import type { ObjectDocument, ObjectList } from "../documents.ts";
import { idOf, knownOf, objectColumns, problemsFirst, readinessOf, readyCondition } from "../objects.ts";
import { recordPrinter } from "../record-printer.ts";
import type { Sight } from "../watch.ts";

export interface GetOptions {
  readonly ready?: string;
  readonly watch?: boolean;
}

export async function get(
  context: Context,
  kind: string,
  name: string | undefined,
  options: GetOptions,
): Promise<Answer | undefined> {
  const { api, nowMs } = context;
  const ready = options.ready === undefined ? undefined : parseFlag(options.ready, "--ready");
  const isAll = kind === "all" && name === undefined;
  const { collection, name: found } = isAll ? nothing : parsePossibleReference(kind, name);
  const wanted = collection === undefined ? collections : [collection];
  if (options.watch) return watch(context, wanted, found, ready);
  if (collection === undefined || found === undefined)
    return listAnswer(await readAll(api, wanted, ready), nowMs, ready);
  const object = await api.get<ObjectDocument>(pathOf(collection, found));
  const isAsked = isWanted(object, ready);
  return {
    data: knownOf(object),
    names: isAsked ? [idOf(object)] : [],
    sections: (isWide) => [objectTable(collection, isAsked ? [object] : [], nowMs(), isWide)],
  };
}

const nothing = { collection: undefined, name: undefined };

function isWanted(object: ObjectDocument, ready: boolean | undefined): boolean {
  return ready === undefined || ready === (readinessOf(object) === "True");
}

/** Ends by Ctrl-C, or when the reader goes away. */
async function watch(
  context: Context,
  wanted: readonly Collection[],
  name: string | undefined,
  ready: boolean | undefined,
): Promise<undefined> {
  const { watchObjects } = await import("../watch.ts");
  const print = recordPrinter<Sight>(context, {
    dataOf: ({ kind, object }) => (kind === "deleted" ? { ...object, deleted: true } : knownOf(object)),
    nameOf: ({ object }) => idOf(object),
    head: lineOf("OBJECT", "READY", "AGE", "REASON"),
    lineOf: (sight, shorten) => sightLine(sight, shorten(idOf(sight.object), idWidth), context.nowMs()),
  });
  const kinds = wanted.map((collection) => collection.slice(0, -1));
  const shown = new Set<string>();
  for await (const sight of watchObjects(context.api, kinds, name, new Absence(context.terminal))) {
    const id = idOf(sight.object);
    const isShown = sight.kind === "object" && isWanted(sight.object, ready);
    // Also the change by which one that was shown is none of them any more.
    if (isShown || shown.has(id)) print(sight);
    if (isShown) shown.add(id);
    else shown.delete(id);
  }
}

/** Objects come one by one, so their columns have fixed widths. */
function sightLine({ kind, object }: Sight, id: string, nowMs: number): string {
  if (kind === "deleted") return lineOf(id, "deleted", "", "");
  const condition = readyCondition(object);
  const reason = condition?.reason === "Ready" ? "" : (condition?.reason ?? "");
  const age = ageOf(condition?.lastTransitionTime, nowMs);
  const message = condition?.message ?? "";
  return lineOf(id, readinessOf(object), age, `${reason} ${message}`.trim());
}

const idWidth = 40;

function lineOf(id: string, ready: string, age: string, reason: string): string {
  return `${id.padEnd(idWidth)}  ${ready.padEnd(7)}  ${age.padStart(5)}  ${reason}`.trimEnd();
}

export function pathOf(collection: Collection, name: string): string {
  return `/v1/${collection}/${encodeURIComponent(name)}`;
}

interface Listed {
  readonly collection: Collection;
  readonly items: readonly ObjectDocument[];
}

async function readAll(
  api: Api,
  wanted: readonly Collection[],
  ready: boolean | undefined,
): Promise<readonly Listed[]> {
  const query = ready === undefined ? {} : { query: { ready } };
  return Promise.all(
    wanted.map(async (collection) => {
      const { items } = await api.get<ObjectList>(`/v1/${collection}`, query);
      return { collection, items: problemsFirst(items) };
    }),
  );
}

function listAnswer(lists: readonly Listed[], nowMs: () => number, ready: boolean | undefined): Answer {
  const items = lists.flatMap((list) => list.items);
  return {
    data: { items: items.map(knownOf) },
    names: items.map(idOf),
    sections: (isWide) => {
      const filled = lists.filter((list) => list.items.length > 0);
      if (filled.length === 0) return [{ block: lines({ text: emptyText(lists, ready), style: "dim" }) }];
      return filled.map(({ collection, items }) =>
        objectTable(collection, items, nowMs(), isWide, lists.length > 1 ? collection : undefined),
      );
    },
  };
}

function emptyText(lists: readonly Listed[], ready: boolean | undefined): string {
  const what = lists.length === 1 ? lists[0]?.collection : "objects";
  return ready === undefined ? `no ${what}` : `no ${what} that are ${ready ? "" : "not "}Ready`;
}

function objectTable(
  collection: Collection,
  items: readonly ObjectDocument[],
  nowMs: number,
  isWide: boolean,
  heading?: string,
): Section {
  const block = table(objectColumns(collection, nowMs), items, isWide);
  return heading === undefined ? { block } : { heading: { text: heading, style: "strong" }, block };
}
