/** Reads the elements of the table of rate limits from dumps. */
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "../netlink/attributes.ts";
import { readComment } from "./comment.ts";
import { forEachElementOf } from "./decode-elements.ts";
import { lineOfMessage } from "./definition-lines.ts";
import { newClassMap, newLimitSet } from "./encode-qos.ts";
import { field } from "./fields.ts";
import type { ElementMap } from "./maps.ts";
import { classMap, limitText } from "./qos.ts";
import { elementAttribute, elementListAttribute, expressionAttribute, headerBytes } from "./wire.ts";

export interface ReadableSet {
  readonly name: string;
  readonly isMap: boolean;
}

/** The maps and sets in the lines of the table's definition that are as ours: only their elements can be read. */
export function readableQosSets(lines: readonly string[]): readonly ReadableSet[] {
  return lines.flatMap((line): readonly ReadableSet[] => {
    const hex = /^map 2=((?:[0-9a-f]{2})+?)00 /.exec(line)?.[1];
    if (hex === undefined) return [];
    const name = hex.replace(/../g, (byte) => String.fromCharCode(Number.parseInt(byte, 16)));
    if (line === lineOf(newClassMap(name, 1))) return [{ name, isMap: true }];
    return line === lineOf(newLimitSet(name, 1)) ? [{ name, isMap: false }] : [];
  });
}

function lineOf({ type, payload }: ReturnType<typeof newClassMap>): string | undefined {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return lineOfMessage(type, view, 0, payload.length)?.line;
}

/** Visits the elements of a map in a message of a dump: the class by EIP. */
export function forEachClass(
  view: DataView,
  start: number,
  end: number,
  visit: (eip: string, text: string) => void,
): void {
  const comments = itemsIn(view, start, end, commentIn);
  let at = 0;
  forEachElementOf(classMap, view, start, end, (key, value) => visit(key, value + (comments[at++] ?? "")));
}

const limitSet: ElementMap = { key: [field.address], value: [], isInterval: false };

/** The same of a set: the limit by EIP. */
export function forEachLimit(
  view: DataView,
  start: number,
  end: number,
  visit: (eip: string, text: string) => void,
): void {
  const limits = itemsIn(view, start, end, (...item) => limitIn(...item) + commentIn(...item));
  let at = 0;
  forEachElementOf(limitSet, view, start, end, (key) => visit(key, limits[at++] ?? ""));
}

/** What each element of a message has, in their order. */
function itemsIn(
  view: DataView,
  start: number,
  end: number,
  read: (view: DataView, start: number, end: number) => string,
): readonly string[] {
  const items: string[] = [];
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== elementListAttribute.elements) continue;
    const stop = attributeEnd(view, at, end);
    for (let item = payloadOf(at); item < stop; item = nextAttribute(view, item, stop))
      items.push(read(view, payloadOf(item), attributeEnd(view, item, stop)));
  }
  return items;
}

/** The comment of an element behind its value, ` priority 5`. User data of any other kind is none of ours. */
function commentIn(view: DataView, start: number, end: number): string {
  for (let at = start; at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === elementAttribute.userdata)
      return ` ${readComment(view, payloadOf(at), attributeEnd(view, at, end)) ?? "with other user data"}`;
  return "";
}

/** The limit of an element. Anything else is no text of {@link limitText}. */
function limitIn(view: DataView, start: number, end: number): string {
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== elementAttribute.expression) continue;
    const stop = attributeEnd(view, at, end);
    let name = "";
    for (let part = payloadOf(at); part < stop; part = nextAttribute(view, part, stop)) {
      const [from, to] = [payloadOf(part), attributeEnd(view, part, stop)];
      if (attributeType(view, part) === expressionAttribute.name) name = readText(view, from, to);
      else if (name === "limit") return readLimit(view, from, to);
    }
  }
  return "no limit";
}

function readLimit(view: DataView, start: number, end: number): string {
  const values = new Map<number, number>();
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    const isLong = type === 1 || type === 2;
    const from = requirePayload(view, at, end, isLong ? 8 : 4);
    values.set(type, isLong ? Number(view.getBigUint64(from)) : view.getUint32(from));
  }
  const [rate = 0, unit = 0, burst = 0, type = 0, flags = 0] = [1, 2, 3, 4, 5].map((key) => values.get(key));
  const text = limitText({ rate, burst });
  return unit === 1 && type === 1 && flags === 1
    ? text
    : `${text} (unit ${unit}, type ${type}, flags ${flags})`;
}
