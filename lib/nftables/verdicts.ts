/** Elements of the map that leads from a service to the chain of its DNAT: nft's words in text, verdicts in messages. */
import {
  attributeEnd,
  attributeType,
  bytesAttribute,
  concatBytes,
  nestedAttribute,
  netU32Attribute,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
  textAttribute,
} from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { backendsMap, backendsTable, gotoText, serviceFields } from "./backends.ts";
import { message } from "./definition-messages.ts";
import { fieldBytes, readField, writeField } from "./fields.ts";
import { catchAll } from "./maps.ts";
import {
  elementAttribute,
  elementListAttribute,
  gotoCode,
  headerBytes,
  NFT_SET_ELEM_CATCHALL,
  NFTA_DATA_VALUE,
  NFTA_DATA_VERDICT,
  NFTA_LIST_ELEM,
  verdictAttribute,
} from "./wire.ts";

/** A list of them stays below 64 KiB. */
const verdictsPerMessage = 400;

/** Elements of the map of verdicts: each leads to a chain; to delete them the keys are enough. */
export function encodeVerdicts(
  type: number,
  flags: number,
  elements: readonly (readonly [key: string, chain: string | undefined])[],
): readonly NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let from = 0; from < elements.length; from += verdictsPerMessage) {
    const list = elements
      .slice(from, from + verdictsPerMessage)
      .map(([key, chain]) => verdictElement(key, chain));
    messages.push(
      message(type, flags, [
        textAttribute(elementListAttribute.table, backendsTable),
        textAttribute(elementListAttribute.set, backendsMap),
        bytesAttribute(elementListAttribute.elements, concatBytes(...list)),
      ]),
    );
  }
  return messages;
}

function verdictElement(key: string, chain: string | undefined): Uint8Array {
  if (key === catchAll)
    return nestedAttribute(NFTA_LIST_ELEM, netU32Attribute(elementAttribute.flags, NFT_SET_ELEM_CATCHALL));
  const bytes = new Uint8Array(serviceFields.length * fieldBytes);
  const view = new DataView(bytes.buffer);
  for (const [index, part] of key.split(" . ").entries()) {
    const field = serviceFields[index];
    if (field !== undefined) writeField(view, index * fieldBytes, field, field.parse(part));
  }
  const parts = [nestedAttribute(elementAttribute.key, bytesAttribute(NFTA_DATA_VALUE, bytes))];
  if (chain !== undefined) {
    const verdict = nestedAttribute(
      NFTA_DATA_VERDICT,
      netU32Attribute(verdictAttribute.code, gotoCode >>> 0),
      textAttribute(verdictAttribute.chain, chain),
    );
    parts.push(nestedAttribute(elementAttribute.data, verdict));
  }
  return nestedAttribute(NFTA_LIST_ELEM, ...parts);
}

/** Calls `visit` with the verdict of each key in a message with elements of the map. */
export function forEachVerdict(
  view: DataView,
  start: number,
  end: number,
  visit: (key: string, verdict: string) => void,
): void {
  const list = find(view, start + headerBytes, end, elementListAttribute.elements);
  if (list === undefined) return;
  const listEnd = attributeEnd(view, list, end);
  for (let item = payloadOf(list); item < listEnd; item = nextAttribute(view, item, listEnd)) {
    const itemEnd = attributeEnd(view, item, listEnd);
    const within = (at: number | undefined, attribute: number) =>
      at === undefined ? undefined : find(view, payloadOf(at), attributeEnd(view, at, itemEnd), attribute);
    const key = within(within(item, elementAttribute.key), NFTA_DATA_VALUE);
    const verdict = within(within(item, elementAttribute.data), NFTA_DATA_VERDICT);
    const code = within(verdict, verdictAttribute.code);
    const chain = within(verdict, verdictAttribute.chain);
    const number = code === undefined ? 0 : view.getInt32(requirePayload(view, code, itemEnd, 4));
    const name =
      chain === undefined ? "" : readText(view, payloadOf(chain), attributeEnd(view, chain, itemEnd));
    visit(
      key === undefined ? catchAll : keyText(view, requirePayload(view, key, itemEnd, keyBytes)),
      number === gotoCode ? gotoText(name) : `verdict ${number} ${name}`,
    );
  }
}

const keyBytes = serviceFields.length * fieldBytes;

function keyText(view: DataView, at: number): string {
  return serviceFields
    .map((field, index) => field.format(readField(view, at + index * fieldBytes, field)))
    .join(" . ");
}

function find(view: DataView, start: number, end: number, type: number): number | undefined {
  for (let at = start; at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === type) return at;
  return undefined;
}
