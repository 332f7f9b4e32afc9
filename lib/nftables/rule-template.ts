/**
 * The kernel's form of a rule, learned from examples: iptables-nft's own rules are expressions of nf_tables around blobs of its
 * extensions, which differ between its versions. Rules of one shape differ only where their addresses are. What was learned from
 * one example is believed only if it gives every other one byte for byte.
 */
import {
  attributeEnd,
  attributeHeader,
  attributeType,
  concatBytes,
  nextAttribute,
  payloadOf,
  readText,
  textAttribute,
} from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import type { ChainPlace } from "./rule-handles.ts";
import { headerBytes, inetHeader, messageType, ruleAttribute } from "./wire.ts";

/** The attributes of a dumped rule that say what it does, with counters at 0. */
export type RuleContent = Uint8Array;

/** A rule as the kernel has it, and the bytes of its addresses. */
export interface RuleExample {
  readonly content: RuleContent;
  readonly addresses: readonly Uint8Array[];
}

/** Makes the content of a rule of this shape with other addresses. */
export type RuleTemplate = (addresses: readonly Uint8Array[]) => RuleContent;

/** NFTA_RULE_*: the rule's neighbour and its number in the transaction, which are not content. */
const placeAttributes: ReadonlySet<number> = new Set([
  ruleAttribute.table,
  ruleAttribute.chain,
  ruleAttribute.handle,
  ruleAttribute.position,
  ruleAttribute.pad,
]);

/** The content of a dumped rule. `undefined` if it has an attribute that is not known. */
export function readContent(view: DataView, start: number, end: number): RuleContent | undefined {
  const parts: Uint8Array[] = [];
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    if (placeAttributes.has(type)) continue;
    if (type !== ruleAttribute.expressions && type !== ruleAttribute.userdata) return undefined;
    const stop = Math.min(nextAttribute(view, at, end), end);
    const bytes = new Uint8Array(view.buffer, view.byteOffset + at, stop - at).slice();
    if (type === ruleAttribute.expressions) clearCounters(bytes);
    parts.push(bytes);
  }
  return concatBytes(...parts);
}

/**
 * What all examples have in common. `undefined` if they do not prove it: at least two, of which no two have an address in common.
 */
export function learnTemplate(examples: readonly RuleExample[]): RuleTemplate | undefined {
  const [first, ...others] = examples;
  if (first === undefined || others.length === 0) return undefined;
  const all = examples.flatMap(({ addresses }) => addresses.map((address) => address.join(".")));
  if (new Set(all).size !== all.length) return undefined;
  const places = first.addresses.map((address) => placesOf(address, first.content));
  if (places.some((at) => at.length === 0)) return undefined;
  const template: RuleTemplate = (addresses) => {
    const content = first.content.slice();
    for (const [number, at] of places.entries())
      for (const place of at) content.set(addresses[number] ?? [], place);
    return content;
  };
  const isProved = others.every(({ content, addresses }) => isSameContent(template(addresses), content));
  return isProved ? template : undefined;
}

export function isSameContent(one: RuleContent | undefined, other: RuleContent): boolean {
  return one?.length === other.length && one.every((byte, at) => byte === other[at]);
}

/** Adds a rule at the end of its chain. */
export function appendRule({ table, chain }: ChainPlace, content: RuleContent): NetlinkMessage {
  const place = [textAttribute(ruleAttribute.table, table), textAttribute(ruleAttribute.chain, chain)];
  const flags = messageFlag.create | messageFlag.append;
  return { type: messageType.newRule, flags, payload: concatBytes(inetHeader, ...place, content) };
}

function placesOf(address: Uint8Array, content: RuleContent): readonly number[] {
  const places: number[] = [];
  for (let at = 0; at + address.length <= content.length; at++)
    if (address.every((byte, offset) => content[at + offset] === byte)) places.push(at);
  return places;
}

const listElement = 1;
const expressionName = 1;
const expressionData = 2;
const counterBytes = 1;
const counterPackets = 2;

/** @param expressions the attribute NFTA_RULE_EXPRESSIONS */
function clearCounters(expressions: Uint8Array): void {
  const view = new DataView(expressions.buffer, expressions.byteOffset, expressions.length);
  const end = attributeEnd(view, 0, expressions.length);
  for (let element = attributeHeader; element < end; element = nextAttribute(view, element, end)) {
    if (attributeType(view, element) !== listElement) continue;
    const stop = attributeEnd(view, element, end);
    let isCounter = false;
    for (let at = payloadOf(element); at < stop; at = nextAttribute(view, at, stop)) {
      const [from, to] = [payloadOf(at), attributeEnd(view, at, stop)];
      if (attributeType(view, at) === expressionName) isCounter = readText(view, from, to) === "counter";
      if (attributeType(view, at) !== expressionData || !isCounter) continue;
      for (let value = from; value < to; value = nextAttribute(view, value, to)) {
        const type = attributeType(view, value);
        if (type === counterBytes || type === counterPackets)
          expressions.fill(0, payloadOf(value), attributeEnd(view, value, to));
      }
    }
  }
}
