/** Objects as rows: their readiness, and what distinguishes one of a kind from another. */
import type { Collection } from "../../lib/model/names.ts";
import { ageOf } from "../../lib/text/quantities.ts";
import type { Column, Styled } from "../../lib/text/view.ts";
import type { Condition, ObjectDocument } from "./documents.ts";

/** `fips/fip-a`. */
export function idOf({ kind, name }: Pick<ObjectDocument, "kind" | "name">): string {
  return `${kind.toLowerCase()}s/${name}`;
}

export function readyCondition({ status }: ObjectDocument): Condition | undefined {
  return status.conditions.find(({ type }) => type === "Ready");
}

/** `Unknown` if no pass has looked at the object as it is now. */
export function readinessOf(object: ObjectDocument): "True" | "False" | "Unknown" {
  const condition = readyCondition(object);
  if (condition === undefined) return "Unknown";
  const isSeen = object.status.observedRevision >= object.revision;
  return condition.status === "False" && !isSeen ? "Unknown" : condition.status;
}

/** The object as data: `ready` is null, not false, while nobody has looked. */
export function knownOf(object: ObjectDocument): object {
  if (readinessOf(object) !== "Unknown") return object;
  return { ...object, status: { ...object.status, ready: null } };
}

/** Objects that are not Ready first; else as they were. */
export function problemsFirst(objects: readonly ObjectDocument[]): readonly ObjectDocument[] {
  const isReady = (object: ObjectDocument) => readinessOf(object) === "True";
  return [...objects.filter((object) => !isReady(object)), ...objects.filter(isReady)];
}

export function statusCell(status: string): Styled {
  return { text: status, style: status === "True" ? "good" : status === "False" ? "bad" : "warn" };
}

/** A reason that says more than that the condition holds. */
export function reasonCell(object: ObjectDocument): Styled {
  const { reason = "", status } = readyCondition(object) ?? {};
  return reason === "Ready" ? { text: "" } : { text: reason, style: status === "True" ? "dim" : "bad" };
}

/** The columns of every kind, then those of its own. */
export function objectColumns(collection: Collection, nowMs: number): readonly Column<ObjectDocument>[] {
  return [
    { head: "NAME", cell: ({ name }) => name, gives: "middle" },
    { head: "READY", cell: (object) => statusCell(readinessOf(object)) },
    { head: "REASON", cell: reasonCell },
    {
      head: "AGE",
      cell: (object) => ageOf(readyCondition(object)?.lastTransitionTime, nowMs),
      isRight: true,
    },
    ...specColumns[collection],
    { head: "REVISION", cell: ({ revision }) => String(revision), isRight: true, isWide: true },
    { head: "VERIFIED", cell: ({ status }) => ageOf(status.verifiedAt, nowMs), isRight: true, isWide: true },
    { head: "UID", cell: ({ uid = "-" }) => uid, isWide: true, gives: "middle" },
    {
      head: "MESSAGE",
      cell: (object) => readyCondition(object)?.message ?? "",
      isWide: true,
      gives: "wrap",
    },
  ];
}

type SpecColumn = Column<ObjectDocument>;

const specColumns: Readonly<Record<Collection, readonly SpecColumn[]>> = {
  eips: [
    field("ADDRESS", "address"),
    { head: "USERS", cell: ({ status }) => count(status.usedBy), isRight: true },
    { ...field("INTERFACE", "interface"), isWide: true },
    { ...field("LEASE", "leaseSeconds"), isWide: true },
    { ...field("BOUND", "bound"), isWide: true },
  ],
  fips: [name("EIP", "eip"), field("INTERNAL-IP", "internalIp")],
  snats: [
    name("EIP", "eip"),
    field("INTERNAL-CIDR", "internalCIDR"),
    { ...field("MAPPING", "mapping"), isWide: true },
  ],
  dnats: [
    name("EIP", "eip"),
    { head: "PORT", cell: ({ spec }) => portOf(spec) },
    { head: "TO", cell: ({ spec }) => targetOf(spec) },
    { ...field("AFFINITY", "sessionAffinity"), isWide: true },
  ],
  limits: [
    { head: "ON", cell: ({ spec }) => value(spec.eip ?? spec.interface), gives: "middle" },
    field("DIRECTION", "direction"),
    { head: "RATE", cell: ({ spec }) => `${value(spec.rateMbit)} Mbit/s`, isRight: true },
    { head: "MATCH", cell: ({ spec }) => matchOf(spec.match) },
    { ...field("BURST-MB", "burstMB"), isWide: true },
    { ...field("PRIORITY", "priority"), isWide: true },
  ],
  routes: [
    field("DESTINATION", "destination"),
    field("VIA", "via"),
    { head: "INTERFACE", cell: ({ spec }) => value(spec.interface ?? "vpc") },
  ],
};

/** The spec in one line: `eip eip-a, 10.0.1.5`. */
export function specText(collection: Collection, object: ObjectDocument): string {
  return specColumns[collection]
    .filter(({ isWide, head }) => isWide !== true && head !== "USERS")
    .map(({ cell }) => cell(object))
    .map((cell) => (typeof cell === "string" ? cell : cell.text))
    .filter((text) => text !== "-")
    .join(" ");
}

function field(head: string, member: string): SpecColumn {
  return { head, cell: ({ spec }) => value(spec[member]) };
}

function name(head: string, member: string): SpecColumn {
  return { ...field(head, member), gives: "middle" };
}

/** `-` for a value that is not there. */
export function value(given: unknown): string {
  if (given === undefined || given === null || given === "") return "-";
  return typeof given === "object" ? JSON.stringify(given) : String(given);
}

function count(list: readonly unknown[] | undefined): string {
  return list === undefined ? "-" : String(list.length);
}

function portOf({ protocol, externalPort }: ObjectDocument["spec"]): string {
  return `${value(externalPort)}/${value(protocol)}`;
}

function targetOf({ internalIp, internalPort, backends }: ObjectDocument["spec"]): string {
  if (!Array.isArray(backends)) return `${value(internalIp)}:${value(internalPort)}`;
  const [first] = backends as readonly { readonly ip?: unknown; readonly port?: unknown }[];
  const one = first === undefined ? "no backends" : `${value(first.ip)}:${value(first.port)}`;
  return backends.length > 1 ? `${one} and ${backends.length - 1} more` : one;
}

function matchOf(match: unknown): string {
  if (typeof match !== "object" || match === null) return "-";
  return Object.entries(match)
    .map(([side, cidr]) => `${side} ${value(cidr)}`)
    .join(", ");
}
