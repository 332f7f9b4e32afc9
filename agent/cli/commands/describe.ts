/** `natgwctl describe`: everything about one object. */
import type { Collection } from "../../../lib/model/names.ts";
import { ageOf, counted, grouped } from "../../../lib/text/quantities.ts";
import { type Cell, type Column, fields, lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseReference } from "../arguments.ts";
import { flowColumns, listed } from "../changes.ts";
import type { Context } from "../context.ts";
import { type Counter, countersOf } from "../counters.ts";
import type { Change, Condition, FlowList, ObjectDocument, Preview } from "../documents.ts";
import { type EventDocument, eventColumns, readRecent } from "../events.ts";
import { CliFailure } from "../failures.ts";
import { idOf, knownOf, readinessOf, statusCell, value } from "../objects.ts";
import { pathOf } from "./get.ts";

const maxFlows = 10;
const maxEvents = 10;
/** The agent keeps what it keeps, however long ago it was. */
const longAgo = "24h";

/** A part that could not be read says why; it is never empty instead. */
type Part<T> = { readonly value: T } | { readonly error: string };

interface Description {
  readonly object: ObjectDocument;
  /** What is in the kernel for the object alone: what its deletion would remove. */
  readonly kernel: Part<readonly Change[]>;
  readonly flows: Part<FlowList>;
  readonly events: Part<readonly EventDocument[]>;
  /** Of an Eip. */
  readonly counters?: Part<readonly Counter[]>;
}

export async function describe(
  { api, nowMs }: Context,
  kind: string,
  name: string | undefined,
): Promise<Answer> {
  const { collection, name: found } = parseReference(kind, name);
  const path = pathOf(collection, found);
  const object = await api.get<ObjectDocument>(path);
  const cascade = collection === "eips" ? { cascade: true } : {};
  const preview = await part(
    async () => (await api.call<Preview>("delete", path, { query: { dryRun: true, ...cascade } })).body,
  );
  const description: Description = {
    object,
    kernel: mapPart(preview, ({ changes }) => changes.filter(({ action }) => action === "remove")),
    flows: await flowsOf(collection, preview, () =>
      api.get<FlowList>(`${path}/connections`, { query: { limit: maxFlows } }),
    ),
    events: await part(async () => {
      const query = { kind: object.kind.toLowerCase(), name: object.name, since: longAgo };
      const recent = await readRecent(api, query, maxEvents);
      return recent.filter(({ type }) => type !== "resync");
    }),
    ...(collection === "eips" && {
      counters: await part(async () =>
        countersOf(await api.get<string>("/metrics", { accept: "text/plain" }), found),
      ),
    }),
  };
  return {
    data: { ...description, object: knownOf(object) },
    names: [idOf(object)],
    sections: (isWide) => sectionsOf(collection, description, nowMs(), isWide),
    exitCode: 0,
  };
}

/** All flows of an Eip; of any other object those that only it permits. */
async function flowsOf(
  collection: Collection,
  preview: Part<Preview>,
  ofEip: () => Promise<FlowList>,
): Promise<Part<FlowList>> {
  return collection === "eips" ? part(ofEip) : mapPart(preview, ({ flows }) => flows);
}

async function part<T>(read: () => Promise<T>): Promise<Part<T>> {
  try {
    return { value: await read() };
  } catch (error) {
    if (error instanceof CliFailure) return { error: error.message };
    throw error;
  }
}

function mapPart<T, R>(given: Part<T>, map: (value: T) => R): Part<R> {
  return "error" in given ? given : { value: map(given.value) };
}

function sectionsOf(
  collection: Collection,
  description: Description,
  nowMs: number,
  isWide: boolean,
): readonly Section[] {
  const { object, kernel, flows, events, counters } = description;
  const users = listed(object.status.usedBy ?? [], isWide);
  const held = listed("error" in kernel ? [] : kernel.value, isWide);
  return [
    { block: headFields(object, nowMs) },
    section(
      "Spec",
      fields(Object.fromEntries(Object.entries(object.spec).map(([key, one]) => [key, specCell(one)]))),
    ),
    section("Conditions", conditionTable(object.status.conditions, nowMs)),
    ...(collection === "eips"
      ? [
          section(
            "Users",
            users.shown.length === 0
              ? lines({ text: "  none", style: "dim" })
              : lines(
                  ...[...users.shown, ...(users.more === undefined ? [] : [users.more])].map(
                    (user) => `  ${user}`,
                  ),
                ),
          ),
        ]
      : []),
    partSection("Kernel", kernel, "nothing in the kernel is for it alone", () =>
      held.shown.length === 0
        ? undefined
        : table(
            [
              { head: "SUBSYSTEM", cell: ({ subsystem }: Change) => subsystem },
              { head: "HAS", cell: ({ text }: Change) => presentText(text), gives: "wrap" as const },
            ],
            held.shown,
          ),
    ),
    ...(held.more === undefined ? [] : [{ block: lines(`  ${held.more}`) }]),
    ...(counters === undefined
      ? []
      : [
          partSection("Counters", counters, "the agent counts nothing of it", (given) =>
            given.length === 0 ? undefined : table(counterColumns, given),
          ),
        ]),
    partSection(
      "error" in flows ? "Flows" : `Flows (${counted(flows.value.total, "live flow")})`,
      flows,
      collection === "eips" ? "none" : "none that depend on it alone",
      ({ items }) => (items.length === 0 ? undefined : table(flowColumns, items.slice(0, maxFlows))),
    ),
    partSection("Events", events, "none kept", (given) =>
      given.length === 0 ? undefined : table(eventColumns(nowMs), given),
    ),
  ];
}

const counterColumns: readonly Column<Counter>[] = [
  { head: "COUNTER", cell: ({ name }) => name },
  { head: "OF", cell: ({ labels }) => labels || "-" },
  {
    head: "VALUE",
    isRight: true,
    cell: ({ value }) => (Number.isInteger(value) ? grouped(value) : String(value)),
  },
];

function headFields(object: ObjectDocument, nowMs: number): Section["block"] {
  const { status, revision, uid } = object;
  const seen = status.observedRevision < revision ? `, the status is of ${status.observedRevision}` : "";
  return fields({
    Object: { text: idOf(object), style: "strong" },
    Ready: statusCell(readinessOf(object)),
    ...(uid !== undefined && { Uid: uid }),
    Revision: `${revision}${seen}`,
    Verified:
      status.verifiedAt === undefined
        ? { text: "not yet", style: "warn" }
        : `${ageOf(status.verifiedAt, nowMs)} ago (${status.verifiedAt})`,
  });
}

function conditionTable(conditions: readonly Condition[], nowMs: number): Section["block"] {
  return table<Condition>(
    [
      { head: "CONDITION", cell: ({ type }) => type },
      { head: "STATUS", cell: ({ status }) => statusCell(status) },
      { head: "REASON", cell: ({ reason }) => reason },
      { head: "SINCE", isRight: true, cell: ({ lastTransitionTime }) => ageOf(lastTransitionTime, nowMs) },
      { head: "MESSAGE", cell: ({ message }) => message || "-", gives: "wrap" },
    ],
    conditions,
  );
}

function specCell(one: unknown): Cell | readonly Cell[] {
  return Array.isArray(one) && one.length > 0 ? one.map(value) : value(one);
}

/** The removal of a rule or an address, as what is there. */
function presentText(text: string): string {
  return text
    .replace(/^-D /, "-A ")
    .replace(/^delete (?=element|table|chain|rule)/, "")
    .replace(/^ip (address|route) del /, "ip $1 add ")
    .replace(/^tc (\w+) del /, "tc $1 add ");
}

function section(heading: string, block: Section["block"]): Section {
  return { heading: { text: heading, style: "strong" }, block };
}

function partSection<T>(
  heading: string,
  given: Part<T>,
  emptyText: string,
  show: (value: T) => Section["block"] | undefined,
): Section {
  if ("error" in given) return section(heading, lines({ text: `  unknown: ${given.error}`, style: "warn" }));
  return section(heading, show(given.value) ?? lines({ text: `  ${emptyText}`, style: "dim" }));
}
