/** `natgwctl status`: what is wrong first, then the gateway on one screen. */
import { remedyAtTerminal } from "../../../lib/doctor/remedies.ts";
import type { Collection } from "../../../lib/model/names.ts";
import { ageOf, counted, grouped, took } from "../../../lib/text/quantities.ts";
import { type Cell, fields, lines, type Section, type Style, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import type { Context } from "../context.ts";
import type { GatewayStatus, InterfaceStatus, ObjectDocument, ObjectList } from "../documents.ts";
import { idOf, knownOf, problemsFirst, readinessOf, readyCondition, specText } from "../objects.ts";

/** Rows that fit on one screen. */
const maxListed = 10;

/** What no pass has read yet is null, not false. */
interface InterfaceModel extends Pick<InterfaceStatus, "name" | "addresses"> {
  readonly present: boolean | null;
  readonly up: boolean | null;
  readonly mac: string | null;
}

interface StatusModel extends Omit<GatewayStatus, "interfaces"> {
  readonly health: "healthy" | "degraded";
  readonly interfaces: Readonly<Record<string, InterfaceModel>>;
  /** The first ones. The counts are in `objects`. */
  readonly notReady: readonly ObjectDocument[];
}

export async function status({ api, nowMs }: Context): Promise<Answer> {
  const gateway = await api.get<GatewayStatus>("/v1/status");
  const failing = Object.entries(gateway.objects).filter(([, { notReady }]) => notReady > 0);
  const lists = await Promise.all(
    failing.map(([kind]) => api.get<ObjectList>(`/v1/${collectionOf(kind)}`, { query: { ready: false } })),
  );
  const notReady = problemsFirst(lists.flatMap(({ items }) => items));
  const model = modelOf(gateway, notReady.slice(0, maxListed));
  return {
    data: { ...model, notReady: model.notReady.map(knownOf) },
    names: notReady.map(idOf),
    sections: () => sectionsOf(model, nowMs()),
    exitCode: model.health === "healthy" ? 0 : 1,
  };
}

function modelOf(gateway: GatewayStatus, notReady: readonly ObjectDocument[]): StatusModel {
  const isHealthy = gateway.degraded.length === 0 && sum(gateway, "notReady") === 0;
  const isObserved = gateway.lastReconcile !== null;
  const interfaces = Object.entries(gateway.interfaces).map(([role, one]) => [
    role,
    isObserved ? one : { name: one.name, present: null, up: null, mac: null, addresses: one.addresses },
  ]);
  return {
    health: isHealthy ? "healthy" : "degraded",
    ...gateway,
    interfaces: Object.fromEntries(interfaces),
    notReady,
  };
}

function sectionsOf(model: StatusModel, nowMs: number): readonly Section[] {
  const total = sum(model, "total");
  const headline: Cell =
    model.health === "healthy"
      ? {
          text: `HEALTHY  ${total === 0 ? "no objects" : `${counted(total, "object")}, all Ready`}`,
          style: "good",
        }
      : { text: `DEGRADED  ${troubleOf(model)}`, style: "bad" };
  return [
    { block: lines(headline) },
    ...problemSections(model),
    ...notReadySections(model, nowMs),
    { block: gatewayFields(model, nowMs) },
    ...(total === 0 ? [] : [{ block: countsTable(model) }]),
  ];
}

function troubleOf(model: StatusModel): string {
  const notReady = sum(model, "notReady");
  return [
    ...(model.degraded.length > 0 ? [counted(model.degraded.length, "problem")] : []),
    ...(notReady > 0 ? [`${grouped(notReady)} of ${counted(sum(model, "total"), "object")} not Ready`] : []),
  ].join(", ");
}

function problemSections({ degraded }: StatusModel): readonly Section[] {
  if (degraded.length === 0) return [];
  const rows = degraded.flatMap(({ reason, message }) => {
    const remedy = remedyAtTerminal(reason);
    return [
      { reason, text: message, style: undefined },
      ...(remedy === undefined ? [] : [{ reason: "", text: `-> ${remedy}`, style: "dim" as const }]),
    ];
  });
  const columns = [
    { head: "PROBLEM", cell: ({ reason }: { reason: string }): Cell => ({ text: reason, style: "bad" }) },
    {
      head: "MESSAGE",
      gives: "wrap" as const,
      cell: ({ text, style }: { text: string; style: Style | undefined }): Cell =>
        style === undefined ? text : { text, style },
    },
  ];
  return [{ block: table(columns, rows) }];
}

function notReadySections(model: StatusModel, nowMs: number): readonly Section[] {
  if (model.notReady.length === 0) return [];
  const columns = [
    { head: "NOT READY", cell: idOf, gives: "middle" as const },
    {
      head: "REASON",
      cell: (object: ObjectDocument): Cell => ({
        text: readinessOf(object) === "Unknown" ? "Unknown" : (readyCondition(object)?.reason ?? "Unknown"),
        style: readinessOf(object) === "Unknown" ? "warn" : "bad",
      }),
    },
    {
      head: "SINCE",
      isRight: true,
      cell: (object: ObjectDocument) => ageOf(readyCondition(object)?.lastTransitionTime, nowMs),
    },
    { head: "MESSAGE", cell: messageOf, gives: "wrap" as const },
  ];
  const more = sum(model, "notReady") - model.notReady.length;
  return [
    { block: table(columns, model.notReady) },
    ...(more > 0
      ? [
          {
            block: lines({ text: `and ${grouped(more)} more: natgwctl get all --ready=false`, style: "dim" }),
          },
        ]
      : []),
  ];
}

/** What is known of the object at least. */
function messageOf(object: ObjectDocument): string {
  return readyCondition(object)?.message || specText(`${object.kind.toLowerCase()}s` as Collection, object);
}

function gatewayFields(model: StatusModel, nowMs: number): Section["block"] {
  const { generation, revision, lastReconcile: last, interfaces } = model;
  const links = Object.entries(interfaces).map(([role, one]) => [
    role === "vpc" ? "VPC" : "External",
    link(one),
  ]);
  return fields({
    Gateway: `natgw ${model.version}, ${model.backend}, epoch ${model.epoch.slice(0, 13)}`,
    Desired: progress("revision", revision, `generation ${generation.desired}`),
    "Last pass":
      last === null
        ? { text: "none yet", style: "warn" }
        : {
            text: `${ageOf(last.startedAt, nowMs)} ago, ${took(last.took)}, ${counted(last.changed, "change")}, ${last.failed.length} failed`,
            ...(last.failed.length > 0 && { style: "bad" }),
          },
    Gate: gateCell(model),
    ...(model.bfdGate === "off" ? {} : { "BFD gate": gateOf(model.bfdGate, false) }),
    ...Object.fromEntries(links),
  });
}

function progress(what: string, { desired, applied }: GatewayStatus["revision"], more: string): Cell {
  return applied >= desired
    ? `${what} ${desired} applied, ${more}`
    : { text: `${what} ${desired}, applied ${applied}, ${more}`, style: "warn" };
}

function gateCell({ gate, untranslated }: StatusModel): Cell {
  return gateOf(gate, untranslated === "drop");
}

function gateOf(state: string, isMeant: boolean): Cell {
  if (state === "open") return "open";
  if (state === "closed" && isMeant)
    return "closed for what is not translated, as NATGW_UNTRANSLATED=drop says";
  return { text: state, style: state === "closed" ? "bad" : "warn" };
}

function link({ name, present, up, mac, addresses }: InterfaceModel): Cell {
  if (present === null) return { text: `${name} unknown`, style: "warn" };
  if (!present) return { text: `${name} missing`, style: "bad" };
  const [first = "no address"] = addresses;
  const more =
    addresses.length > 1 ? ` and ${counted(addresses.length - 1, "more address", "more addresses")}` : "";
  const text = `${name} ${up ? "up" : "down"}, ${first}${more}, ${mac}`;
  return up ? text : { text, style: "bad" };
}

function countsTable({ objects }: StatusModel): Section["block"] {
  const rows = Object.entries(objects).filter(([, { total }]) => total > 0);
  type Row = (typeof rows)[number];
  return table<Row>(
    [
      { head: "KIND", cell: ([kind]) => collectionOf(kind) },
      { head: "TOTAL", isRight: true, cell: ([, { total }]) => grouped(total) },
      { head: "READY", isRight: true, cell: ([, { ready }]) => grouped(ready) },
      {
        head: "NOT READY",
        isRight: true,
        cell: ([, { notReady }]) => (notReady === 0 ? "0" : { text: grouped(notReady), style: "bad" }),
      },
    ],
    rows,
  );
}

function sum({ objects }: Pick<GatewayStatus, "objects">, member: "total" | "notReady"): number {
  return Object.values(objects).reduce((total, counts) => total + counts[member], 0);
}

/** The counts have names of kinds, in the singular or the plural. */
function collectionOf(kind: string): string {
  const lower = kind.toLowerCase();
  return lower.endsWith("s") ? lower : `${lower}s`;
}
