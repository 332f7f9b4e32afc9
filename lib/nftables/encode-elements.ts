/**
 * Encodes requests about map elements. A message holds as many elements as its list attribute has room for (below 64
 * KiB).
 */
import { type Chunked, runSync } from "../chunked.ts";
import { concatBytes, netU32Attribute, textAttribute } from "../netlink/attributes.ts";
import { headerLength, messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import { type Field, fieldBytes, writeField } from "./fields.ts";
import { catchAll, type ElementMap } from "./maps.ts";
import { elementSets, type SetName, tableHolding } from "./sets.ts";
import {
  elementAttribute,
  elementListAttribute,
  inetHeader,
  messageType,
  NFT_SET_ELEM_CATCHALL,
  NFTA_DATA_VALUE,
  NFTA_LIST_ELEM,
} from "./wire.ts";

/** A message about elements of one map or set, which can tell the element that an offset in it belongs to. */
export interface ElementMessage extends NetlinkMessage {
  readonly map: SetName;
  readonly keys: readonly string[];
  /** Bytes per element. All elements of a message have the same size. */
  readonly elementBytes: number;
}

/** Takes a few milliseconds. */
const messagesAtOnce = 2;

/** Below the 64 KiB limit of an attribute's length field. */
const maxListBytes = 60_000;

/** Adds elements with keys and values. */
export function encodeAdd(...given: Parameters<typeof encodeAddChunked>): readonly ElementMessage[] {
  return runSync(encodeAddChunked(...given));
}

/** The same in parts: a message takes about a millisecond. */
export function encodeAddChunked(
  map: SetName,
  elements: ReadonlyMap<string, string>,
): Chunked<readonly ElementMessage[]> {
  return encode(map, [...elements.keys()], elements, messageType.newElements, messageFlag.create);
}

export function encodeDelete(...given: Parameters<typeof encodeDeleteChunked>): readonly ElementMessage[] {
  return runSync(encodeDeleteChunked(...given));
}

/** The same in parts. */
export function encodeDeleteChunked(
  map: SetName,
  keys: readonly string[],
): Chunked<readonly ElementMessage[]> {
  return encode(map, keys, undefined, messageType.deleteElements, 0);
}

/** Deletes all elements of a map or set. */
export function encodeFlush(map: SetName): NetlinkMessage {
  return { type: messageType.deleteElements, flags: 0, payload: listHeader(map) };
}

/**
 * Requests one element. For an interval map the kernel returns the element that contains the first key of the range.
 */
export function encodeGet(map: SetName, key: string): NetlinkMessage {
  const [message] = runSync(encode(map, [key], undefined, messageType.getElements, messageFlag.ack));
  if (message === undefined) throw new TypeError("a message of one key was not encoded");
  return message;
}

/** Requests all elements of a map. The sender adds NLM_F_DUMP. */
export function dumpElements(map: SetName): NetlinkMessage {
  return { type: messageType.getElements, flags: 0, payload: listHeader(map) };
}

/** The key at an offset from the start of the message, as the kernel reports it in NLMSGERR_ATTR_OFFS. */
export function keyAt(message: ElementMessage, offset: number): string | undefined {
  const first = headerLength + listHeader(message.map).length + attributeHeader;
  return message.keys[Math.floor((offset - first) / message.elementBytes)];
}

export function isElementMessage(message: NetlinkMessage): message is ElementMessage {
  return "elementBytes" in message;
}

const attributeHeader = 4;
/** Header of a key or a value: NFTA_SET_ELEM_KEY around NFTA_DATA_VALUE. */
const dataHeader = 2 * attributeHeader;

function listHeader(map: SetName): Uint8Array {
  return concatBytes(
    inetHeader,
    textAttribute(elementListAttribute.table, tableHolding(map)),
    textAttribute(elementListAttribute.set, map),
  );
}

function* encode(
  map: SetName,
  keys: readonly string[],
  values: ReadonlyMap<string, string> | undefined,
  type: number,
  flags: number,
): Chunked<readonly ElementMessage[]> {
  const spec: ElementMap = elementSets[map];
  // The catch-all element has no key. The agent never adds one.
  const ordinary = values === undefined ? keys.filter((key) => key !== catchAll) : keys;
  const keyBytes = dataHeader + spec.key.length * fieldBytes;
  const hasValue = values !== undefined && spec.value.length > 0;
  const valueBytes = hasValue ? dataHeader + spec.value.length * fieldBytes : 0;
  const elementBytes = attributeHeader + keyBytes * (spec.isInterval ? 2 : 1) + valueBytes;
  const perMessage = Math.floor(maxListBytes / elementBytes);
  const messages: ElementMessage[] = [];
  for (let from = 0; from < ordinary.length; from += perMessage) {
    if (from > 0 && messages.length % messagesAtOnce === 0) yield;
    const part = ordinary.slice(from, from + perMessage);
    const list = new ListWriter(listHeader(map), part.length * elementBytes);
    for (const key of part) list.element(spec, elementBytes, key, values?.get(key));
    messages.push({ type, flags, payload: list.payload, map, keys: part, elementBytes });
  }
  return ordinary.length === keys.length ? messages : [...messages, catchAllMessage(map, type, flags)];
}

/**
 * The payload of a message with the elements of any map or set, whose list must stay below 64 KiB.
 *
 * @param header everything before the list
 */
export function encodeList(
  header: Uint8Array,
  spec: ElementMap,
  elements: readonly (readonly [key: string, value: string])[],
): Uint8Array {
  const fields = spec.key.length + spec.value.length;
  const headers = spec.value.length === 0 ? 1 : 2;
  const elementBytes = attributeHeader + headers * dataHeader + fields * fieldBytes;
  const list = new ListWriter(header, elements.length * elementBytes);
  for (const [key, value] of elements) list.element(spec, elementBytes, key, value);
  return list.payload;
}

function catchAllMessage(map: SetName, type: number, flags: number): ElementMessage {
  const flagsAttribute = netU32Attribute(elementAttribute.flags, NFT_SET_ELEM_CATCHALL);
  const elementBytes = attributeHeader + flagsAttribute.length;
  const list = new ListWriter(listHeader(map), elementBytes);
  list.header(NFTA_LIST_ELEM, elementBytes);
  list.bytes(flagsAttribute);
  return { type, flags, payload: list.payload, map, keys: [catchAll], elementBytes };
}

/** Writes elements in place. One array per part of an element would cost more than the kernel's own work. */
class ListWriter {
  readonly payload: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(header: Uint8Array, listBytes: number) {
    this.payload = new Uint8Array(header.length + attributeHeader + listBytes);
    this.payload.set(header);
    this.#view = new DataView(this.payload.buffer);
    this.#at = header.length;
    this.header(elementListAttribute.elements, attributeHeader + listBytes);
  }

  header(type: number, length: number): void {
    this.#view.setUint16(this.#at, length, true);
    this.#view.setUint16(this.#at + 2, type, true);
    this.#at += attributeHeader;
  }

  bytes(bytes: Uint8Array): void {
    this.payload.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  element(spec: ElementMap, elementBytes: number, key: string, value: string | undefined): void {
    this.header(NFTA_LIST_ELEM, elementBytes);
    const parts = spec.key.length === 1 ? [key] : key.split(" . ");
    if (spec.isInterval) {
      const ranges = parts.map((part) => part.split("-"));
      this.#data(
        elementAttribute.key,
        spec.key,
        ranges.map(([first = ""]) => first),
      );
      this.#data(
        elementAttribute.keyEnd,
        spec.key,
        ranges.map(([first = "", last = first]) => last),
      );
    } else {
      this.#data(elementAttribute.key, spec.key, parts);
    }
    if (value === undefined || spec.value.length === 0) return;
    this.#data(elementAttribute.data, spec.value, spec.value.length === 1 ? [value] : value.split(" . "));
  }

  #data(type: number, fields: readonly Field[], parts: readonly string[]): void {
    const length = dataHeader + fields.length * fieldBytes;
    this.header(type, length);
    this.header(NFTA_DATA_VALUE, length - attributeHeader);
    for (let index = 0; index < fields.length; index++) {
      const field = fields[index];
      const value = field?.parse(parts[index] ?? "");
      if (field === undefined || value === undefined || Number.isNaN(value) || parts.length !== fields.length)
        throw new TypeError(`not an element: ${parts.join(" . ")}`);
      writeField(this.#view, this.#at, field, value);
      this.#at += fieldBytes;
    }
  }
}
