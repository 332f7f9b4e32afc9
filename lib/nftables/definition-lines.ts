/**
 * A table's definition in a canonical form: a line for the table, each map or set, each counter, each chain and each rule, the rules
 * in their order. The same code describes the messages that make a definition and those that the kernel dumps, so that two definitions are
 * the same exactly where their lines are.
 *
 * An attribute is its number and its bytes: `7=6e6174…`. Nothing is interpreted, so nothing unknown is overlooked.
 */
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { type Definition, encodeDefinition } from "./definition.ts";
import { newGuardSet, newMap } from "./definition-messages.ts";
import { type MapName, mapNames, tableName } from "./maps.ts";
import { type GuardSet, guardSetNames } from "./sets.ts";
import {
  chainAttribute,
  expressionAttribute,
  familyNumber,
  headerBytes,
  messageType,
  objectAttribute,
  ruleAttribute,
  setAttribute,
  tableAttribute,
} from "./wire.ts";

/** `undefined`: the table does not exist. */
export type DefinitionLines = readonly string[] | undefined;

export function isSameDefinition(one: DefinitionLines, other: DefinitionLines): boolean {
  return (
    one === other ||
    (one?.length === other?.length && one?.every((line, at) => line === other?.[at]) === true)
  );
}

/**
 * Which attributes of a message to read. Handles, use counts and informational attributes of newer kernels are left
 * out.
 */
interface Shape {
  readonly kind: "table" | "chain" | "map" | "object" | "rule";
  /** The table's name. */
  readonly table: number;
  readonly attributes: readonly number[];
}

const shapes: ReadonlyMap<number, Shape> = new Map([
  [messageType.newTable, { kind: "table", table: tableAttribute.name, attributes: [tableAttribute.flags] }],
  [
    messageType.newChain,
    {
      kind: "chain",
      table: chainAttribute.table,
      attributes: [
        chainAttribute.name,
        chainAttribute.hook,
        chainAttribute.policy,
        chainAttribute.type,
        chainAttribute.flags,
      ],
    },
  ],
  [
    messageType.newSet,
    {
      kind: "map",
      table: setAttribute.table,
      attributes: [
        setAttribute.name,
        setAttribute.flags,
        setAttribute.keyType,
        setAttribute.keyLength,
        setAttribute.dataType,
        setAttribute.dataLength,
        setAttribute.policy,
        setAttribute.description,
        setAttribute.timeout,
        setAttribute.objectType,
        setAttribute.expression,
        setAttribute.expressions,
      ],
    },
  ],
  [
    messageType.newObject,
    {
      kind: "object",
      table: objectAttribute.table,
      // What it counted is no part of the definition.
      attributes: [objectAttribute.name, objectAttribute.type],
    },
  ],
  [
    messageType.newRule,
    {
      kind: "rule",
      table: ruleAttribute.table,
      attributes: [ruleAttribute.chain, ruleAttribute.expressions, ruleAttribute.userdata],
    },
  ],
]);

/** The lines that a kernel dump of `definition` gives. */
export function definitionLines(definition: Definition): readonly string[] {
  return linesOf(encodeDefinition(definition), tableName);
}

/** The lines that a dump of a table gives that was made by `messages`. */
export function linesOf(messages: readonly NetlinkMessage[], table: string): readonly string[] {
  const reader = new DefinitionReader(table);
  for (const { type, payload } of messages) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    reader.read(type, view, 0, payload.length);
  }
  return reader.lines ?? [];
}

/** The maps in `lines` that have our definition. Only their elements can be decoded. */
export function readableMaps(lines: readonly string[]): readonly MapName[] {
  const present = new Set(lines);
  return mapNames.filter((name) => present.has(lineOf(newMap(name))));
}

/** The same of the guard's table. */
export function readableSets(lines: readonly string[]): readonly GuardSet[] {
  const present = new Set(lines);
  return guardSetNames.filter((name) => present.has(lineOf(newGuardSet(name))));
}

/** Gathers what dumps of tables, chains, maps, objects and rules say of one table. */
export class DefinitionReader {
  /** The table's name. */
  readonly table: string;
  readonly #family: number;
  #line: string | undefined;
  /** Number of maps, chains, objects and flowtables, as the kernel counts them. */
  #held: number | undefined;
  readonly #objects: string[] = [];
  readonly #rules: string[] = [];

  /** @param family NFPROTO_* of the table */
  constructor(table: string, family = familyNumber) {
    this.table = table;
    this.#family = family;
  }

  read(type: number, view: DataView, start: number, end: number): void {
    const shape = shapes.get(type);
    if (shape === undefined || view.getUint8(start) !== this.#family) return;
    if (textOf(view, start, end, shape.table) !== this.table) return;
    const line = describe(shape, view, start, end);
    if (shape.kind === "rule") this.#rules.push(line);
    else if (shape.kind !== "table") this.#objects.push(line);
    else {
      this.#line = line;
      const use = find(view, start, end, tableAttribute.use);
      this.#held = use === undefined ? undefined : view.getUint32(requirePayload(view, use, end, 4));
    }
  }

  /** The rules of one chain stay in their order. Everything else is sorted. */
  get lines(): DefinitionLines {
    if (this.#line === undefined) return undefined;
    const held = this.#held ?? this.#objects.length;
    const chainOf = (rule: string) => rule.slice(0, rule.indexOf(" ", "rule ".length));
    const rules = this.#rules.toSorted((a, b) => compareText(chainOf(a), chainOf(b)));
    return [`${this.#line}holding ${held}`, ...this.#objects.toSorted(compareText), ...rules];
  }
}

/** The line of one message, `undefined` where it is of no type that a definition consists of. */
export function lineOfMessage(
  type: number,
  view: DataView,
  start: number,
  end: number,
): { readonly kind: Shape["kind"]; readonly line: string } | undefined {
  const shape = shapes.get(type);
  return shape && { kind: shape.kind, line: describe(shape, view, start, end) };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function lineOf({ type, payload }: NetlinkMessage): string {
  const shape = shapes.get(type);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return shape === undefined ? "" : describe(shape, view, 0, payload.length);
}

function describe({ kind, attributes }: Shape, view: DataView, start: number, end: number): string {
  let line = `${kind} `;
  for (const type of attributes) {
    const at = find(view, start, end, type);
    if (at === undefined) continue;
    const [from, to] = [payloadOf(at), attributeEnd(view, at, end)];
    const isRule = kind === "rule" && type === ruleAttribute.expressions;
    line += `${type}=${isRule ? expressionsText(view, from, to) : hex(view, from, to)} `;
  }
  return line;
}

/** `payload(1=00000001 2=…) lookup(…)`. */
function expressionsText(view: DataView, start: number, end: number): string {
  const expressions: string[] = [];
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    let [name, leaves] = ["", ""];
    const itemEnd = attributeEnd(view, at, end);
    for (let part = payloadOf(at); part < itemEnd; part = nextAttribute(view, part, itemEnd)) {
      const [from, to] = [payloadOf(part), attributeEnd(view, part, itemEnd)];
      if (attributeType(view, part) === expressionAttribute.name) name = readText(view, from, to);
      else leaves = leavesText(view, from, to);
    }
    expressions.push(`${name}(${leaves})`);
  }
  return expressions.join(" ");
}

function leavesText(view: DataView, start: number, end: number): string {
  const leaves: string[] = [];
  for (let at = start; at < end; at = nextAttribute(view, at, end))
    leaves.push(`${attributeType(view, at)}=${hex(view, payloadOf(at), attributeEnd(view, at, end))}`);
  return leaves.sort().join(" ");
}

/** The position of the message's attribute of this type. */
function find(view: DataView, start: number, end: number, type: number): number | undefined {
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === type) return at;
  return undefined;
}

function textOf(view: DataView, start: number, end: number, type: number): string {
  const at = find(view, start, end, type);
  return at === undefined ? "" : readText(view, payloadOf(at), attributeEnd(view, at, end));
}

function hex(view: DataView, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += hexDigits[view.getUint8(at)];
  return text;
}

const hexDigits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
