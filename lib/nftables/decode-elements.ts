/** Decodes map elements from the kernel into text and numbers. */
import { GatewayError } from "../model/errors.ts";
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  requirePayload,
} from "../netlink/attributes.ts";
import { type Field, fieldBytes, readField } from "./fields.ts";
import { catchAll, type ElementMap, rangeText } from "./maps.ts";
import { elementSets, type SetName } from "./sets.ts";
import {
  elementAttribute,
  elementListAttribute,
  headerBytes,
  NFT_SET_ELEM_CATCHALL,
  NFTA_DATA_VALUE,
} from "./wire.ts";

/** Called for each element; the value of one of a set is `""`. */
export type ElementVisitor = (key: string, value: string, counter: Counter) => void;

/** The counter of an element. Only the first packet of a flow passes a NAT rule, so it counts new flows. */
export interface Counter {
  packets: number;
  bytes: number;
}

/**
 * Decodes a message with elements of `map`. The `counter` object is reused between calls of `visit`.
 *
 * @throws GatewayError `unreadable` for an element that the map cannot hold
 */
export function forEachElement(
  map: SetName,
  view: DataView,
  start: number,
  end: number,
  visit: ElementVisitor,
): void {
  forEachElementOf(elementSets[map], view, start, end, visit);
}

/** The same for any map. */
export function forEachElementOf(
  spec: ElementMap,
  view: DataView,
  start: number,
  end: number,
  visit: ElementVisitor,
): void {
  const counter: Counter = { packets: 0, bytes: 0 };
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== elementListAttribute.elements) continue;
    const listEnd = attributeEnd(view, at, end);
    for (let item = payloadOf(at); item < listEnd; item = nextAttribute(view, item, listEnd))
      readElement(spec, view, payloadOf(item), attributeEnd(view, item, listEnd), counter, visit);
  }
}

function readElement(
  spec: ElementMap,
  view: DataView,
  start: number,
  end: number,
  counter: Counter,
  visit: ElementVisitor,
): void {
  let [key, keyEnd, value, flags] = [0, 0, 0, 0];
  counter.packets = 0;
  counter.bytes = 0;
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    if (type === elementAttribute.key) key = dataAt(view, at, end, spec.key);
    else if (type === elementAttribute.keyEnd) keyEnd = dataAt(view, at, end, spec.key);
    else if (type === elementAttribute.data) value = dataAt(view, at, end, spec.value);
    else if (type === elementAttribute.flags) flags = view.getUint32(requirePayload(view, at, end, 4));
    else if (type === elementAttribute.expression) readCounter(view, at, end, counter);
  }
  const isCatchAll = (flags & NFT_SET_ELEM_CATCHALL) !== 0;
  const isSet = spec.value.length === 0;
  if ((value === 0 && !isSet) || (key === 0 && !isCatchAll))
    throw new GatewayError("unreadable", "an element without key or value");
  const keyText = isCatchAll ? catchAll : format(view, spec.key, key, keyEnd === 0 ? key : keyEnd);
  visit(keyText, isSet ? "" : format(view, spec.value, value, value), counter);
}

/** Where the value inside a key or data attribute starts. Its length is fixed. */
function dataAt(view: DataView, at: number, end: number, fields: readonly Field[]): number {
  const length = fields.length * fieldBytes;
  const inner = payloadOf(at);
  const innerEnd = attributeEnd(view, at, end);
  if (
    attributeType(view, inner) !== NFTA_DATA_VALUE ||
    attributeEnd(view, inner, innerEnd) - payloadOf(inner) !== length
  )
    throw new GatewayError("unreadable", "an element whose type is not the type of its map");
  return requirePayload(view, inner, innerEnd, length);
}

function format(view: DataView, fields: readonly Field[], first: number, last: number): string {
  const [only] = fields;
  if (fields.length === 1 && only !== undefined && first === last)
    return only.format(readField(view, first, only));
  let text = "";
  for (let index = 0; index < fields.length; index++) {
    const field = fields[index];
    if (field === undefined) continue;
    const offset = index * fieldBytes;
    const low = readField(view, first + offset, field);
    const high = readField(view, last + offset, field);
    const part = low === high ? field.format(low) : rangeText(field.format(low), field.format(high));
    text = index === 0 ? part : `${text} . ${part}`;
  }
  return text;
}

/** A `counter` expression: NFTA_COUNTER_BYTES 1 and NFTA_COUNTER_PACKETS 2, both 64 bits. */
function readCounter(view: DataView, at: number, end: number, counter: Counter): void {
  const expressionEnd = attributeEnd(view, at, end);
  for (let part = payloadOf(at); part < expressionEnd; part = nextAttribute(view, part, expressionEnd)) {
    if (attributeType(view, part) !== 2) continue;
    const dataEnd = attributeEnd(view, part, expressionEnd);
    for (let leaf = payloadOf(part); leaf < dataEnd; leaf = nextAttribute(view, leaf, dataEnd)) {
      const type = attributeType(view, leaf);
      if (type === 1) counter.bytes = Number(view.getBigUint64(requirePayload(view, leaf, dataEnd, 8)));
      if (type === 2) counter.packets = Number(view.getBigUint64(requirePayload(view, leaf, dataEnd, 8)));
    }
  }
}
