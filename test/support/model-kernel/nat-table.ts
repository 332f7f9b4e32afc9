/** The table `ip natgw` of one namespace in memory: what the agent's messages make of it, and what it does to packets. */

import type { Target } from "../../../lib/iptables/rule.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { forEachElement } from "../../../lib/nftables/decode-elements.ts";
import { encodeAdd, isElementMessage } from "../../../lib/nftables/encode-elements.ts";
import { readField, writeField } from "../../../lib/nftables/fields.ts";
import { byMap, type ElementMap, elementMaps, type MapName, mapNames } from "../../../lib/nftables/maps.ts";
import { isGuardSet } from "../../../lib/nftables/sets.ts";
import {
  chainAttribute,
  headerBytes,
  hookAttribute,
  messageType,
  ruleAttribute,
} from "../../../lib/nftables/wire.ts";
import {
  applyRule,
  attributesOf,
  type NftPacket,
  type NftRule,
  parseExpressions,
  textOf,
} from "./nft-rules.ts";

export type Errno = "ENOENT" | "EEXIST" | "EINVAL";

interface Chain {
  readonly type: string;
  readonly hook: number;
  readonly rules: readonly NftRule[];
}

interface Contents {
  /** The messages that created the definition, by their type. */
  readonly definition: ReadonlyMap<number, readonly NetlinkMessage[]>;
  readonly chains: ReadonlyMap<string, Chain>;
  readonly elements: { readonly [K in MapName]: ReadonlyMap<string, string> };
}

/** NF_INET_PRE_ROUTING and _POST_ROUTING. */
const hooks = { prerouting: 0, postrouting: 4 } as const;
const definitionTypes: readonly number[] = [messageType.newSet, messageType.newChain, messageType.newRule];

export class NatTable {
  /** Number of writes. */
  commits = 0;
  /** Elements whose text matches are refused by the kernel, whoever writes them. */
  refused: RegExp | undefined;
  #contents: Contents | undefined;

  get isThere(): boolean {
    return this.#contents !== undefined;
  }

  /** The elements of a map. Empty if the table does not exist. */
  elements(map: MapName): ReadonlyMap<string, string> {
    return this.#contents?.elements[map] ?? new Map();
  }

  /** Every element as text, `fip_in 203.0.113.10 : 10.0.1.5`. */
  texts(): readonly string[] {
    return mapNames.flatMap((map) =>
      Array.from(this.elements(map), ([key, value]) => `${map} ${key} : ${value}`),
    );
  }

  /**
   * Applies one transaction: all messages or none.
   *
   * @returns the refusal, with the place of the message at fault
   */
  commit(messages: readonly NetlinkMessage[]): { readonly errno: Errno; readonly index: number } | undefined {
    let contents = this.#contents;
    for (const [index, message] of messages.entries()) {
      const next = changed(contents, message, this.refused);
      if (typeof next === "string") return { errno: next, index };
      contents = next.contents;
    }
    this.#contents = contents;
    this.commits++;
    return undefined;
  }

  /** The messages of a dump of `type`. Elements are requested by map. */
  dump(type: number): readonly NetlinkMessage[] {
    return this.#contents?.definition.get(type) ?? [];
  }

  /** Another program writes an element. @returns false if the kernel refuses */
  put(map: MapName, key: string, value: string): boolean {
    const messages = encodeAdd(map, new Map([[key, value]]));
    return this.#contents !== undefined && this.commit(messages) === undefined;
  }

  /** Another program deletes elements. */
  delete(map: MapName, keys: readonly string[]): void {
    const contents = this.#contents;
    if (contents === undefined || keys.length === 0) return;
    const left = new Map(contents.elements[map]);
    for (const key of keys) left.delete(key);
    this.#contents = { ...contents, elements: { ...contents.elements, [map]: left } };
    this.commits++;
  }

  /** Another program deletes the table. */
  drop(): void {
    if (this.#contents === undefined) return;
    this.#contents = undefined;
    this.commits++;
  }

  /** A nat chain needs connection tracking. */
  get isTracking(): boolean {
    return [...(this.#contents?.chains.values() ?? [])].some(({ type }) => type === "nat");
  }

  /** What the chains of a type do to a packet on a hook. Sets marks on the way. */
  walk(type: "nat" | "filter", hook: keyof typeof hooks, packet: NftPacket): Target | undefined {
    for (const chain of this.#contents?.chains.values() ?? []) {
      if (chain.type !== type || chain.hook !== hooks[hook]) continue;
      for (const rule of chain.rules) {
        const target = applyRule(rule, packet, (map, key) => this.#find(map as MapName, key));
        if (target !== undefined) return target;
      }
    }
    return undefined;
  }

  #find(map: MapName, registers: DataView): Uint8Array | undefined {
    const { key, value }: ElementMap = elementMaps[map];
    const parts = key.map((field, index) => field.format(readField(registers, 4 * index, field)));
    const found = this.at(map, parts.join(" . "));
    if (found === undefined) return undefined;
    const view = new DataView(new ArrayBuffer(4 * value.length));
    for (const [index, part] of found.value.split(" . ").entries()) {
      const field = value[index];
      if (field !== undefined) writeField(view, 4 * index, field, field.parse(part));
    }
    return new Uint8Array(view.buffer);
  }

  /** The element of that key; in a map of ranges the one that contains it. */
  at(map: MapName, key: string): { readonly key: string; readonly value: string } | undefined {
    const elements = this.elements(map);
    const exact = elements.get(key);
    if (exact !== undefined) return { key, value: exact };
    if (!elementMaps[map].isInterval) return undefined;
    for (const [other, value] of elements) if (overlaps(map, other, key)) return { key: other, value };
    return undefined;
  }
}

function changed(
  contents: Contents | undefined,
  message: NetlinkMessage,
  refused: RegExp | undefined,
): { readonly contents: Contents | undefined } | Errno {
  const { type } = message;
  if (type === messageType.newTable) return { contents: contents ?? empty(message) };
  if (contents === undefined) return "ENOENT";
  if (type === messageType.deleteTable) return { contents: undefined };
  if (type === messageType.newElements || type === messageType.deleteElements)
    return withElements(contents, message, refused);
  if (!definitionTypes.includes(type)) throw new Error(`the model knows no message of type ${type}`);
  const definition = new Map(contents.definition).set(type, [
    ...(contents.definition.get(type) ?? []),
    message,
  ]);
  const attributes = attributesOf(viewOf(message), headerBytes);
  if (type === messageType.newSet) return { contents: { ...contents, definition } };
  const chains = new Map(contents.chains);
  if (type === messageType.newChain) {
    const hook = attributesOf(attributes.get(chainAttribute.hook) ?? nothing);
    const number = hook.get(hookAttribute.number)?.getUint32(0) ?? -1;
    const made = { type: textOf(attributes.get(chainAttribute.type)), hook: number, rules: [] };
    chains.set(textOf(attributes.get(chainAttribute.name)), made);
  } else {
    const name = textOf(attributes.get(ruleAttribute.chain));
    const chain = chains.get(name);
    if (chain === undefined) return "ENOENT";
    const rule = parseExpressions(attributes.get(ruleAttribute.expressions) ?? nothing);
    chains.set(name, { ...chain, rules: [...chain.rules, rule] });
  }
  return { contents: { ...contents, definition, chains } };
}

function withElements(
  contents: Contents,
  message: NetlinkMessage,
  refused: RegExp | undefined,
): { readonly contents: Contents } | Errno {
  if (!isElementMessage(message) || isGuardSet(message.map))
    throw new Error("the model needs to know the map of elements");
  const { map, keys, type } = message;
  const elements = new Map(contents.elements[map]);
  let errno: Errno | undefined;
  if (type === messageType.deleteElements) {
    for (const key of keys) if (!elements.delete(key)) errno = "ENOENT";
  } else {
    forEachElement(map, viewOf(message), 0, message.payload.length, (key, value) => {
      if (refused?.test(`${key} : ${value}`)) errno = "EINVAL";
      const { isInterval } = elementMaps[map];
      const isTaken =
        isInterval && elements.keys().some((other) => other !== key && overlaps(map, other, key));
      if (isTaken || (elements.get(key) ?? value) !== value) errno = "EEXIST";
      elements.set(key, value);
    });
  }
  return errno ?? { contents: { ...contents, elements: { ...contents.elements, [map]: elements } } };
}

function empty(table: NetlinkMessage): Contents {
  return {
    definition: new Map([[messageType.newTable, [table]]]),
    chains: new Map(),
    elements: byMap(() => new Map()),
  };
}

/** True if each part of one key shares a value with the same part of the other. */
function overlaps(map: MapName, one: string, other: string): boolean {
  const ranges = (key: string) =>
    key.split(" . ").map((part, index) => {
      const [first = "", last = first] = part.split("-");
      const parse = (elementMaps[map] as ElementMap).key[index]?.parse ?? Number;
      return [parse(first), parse(last)] as const;
    });
  const others = ranges(other);
  return ranges(one).every(([first, last], index) => {
    const [from, to] = others[index] ?? [0, 0];
    return first <= to && from <= last;
  });
}

const nothing = new DataView(new ArrayBuffer(0));

function viewOf({ payload }: NetlinkMessage): DataView {
  return new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
}
