/**
 * The netlink connection of the nftables driver on a table in memory. It understands the messages that the driver sends and
 * throws on all others.
 */

import type {
  AnswerTo,
  ConversingConnection,
  DumpVisitor,
} from "../../../agent/kernel/netlink/connection.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { concatBytes, netU32Attribute } from "../../../lib/netlink/attributes.ts";
import { controlType, messageFlag, type NetlinkMessage } from "../../../lib/netlink/message.ts";
import { dumpElements, encodeAdd, isElementMessage } from "../../../lib/nftables/encode-elements.ts";
import { mapNames } from "../../../lib/nftables/maps.ts";
import { isGuardSet } from "../../../lib/nftables/sets.ts";
import {
  anyHeader,
  batchType,
  headerBytes,
  messageType,
  NFNL_BATCH_GENID,
  NFTA_GEN_ID,
} from "../../../lib/nftables/wire.ts";
import type { Life } from "./life.ts";
import type { NatTable } from "./nat-table.ts";
import { attributesOf } from "./nft-rules.ts";

export interface NftSide {
  readonly table: NatTable;
  readonly generation: number;
  /** Called before each dump, with its type. Throws if the reading fails. */
  onDump(type: number): void;
  /** Called before each transaction. @returns false if the kernel refuses it for no rule's fault */
  onCommit(messages: readonly NetlinkMessage[]): boolean;
}

const errnos = { ENOENT: 2, ENOMEM: 12, EEXIST: 17, EINVAL: 22, ERESTART: 85 } as const;

/** The content of each kind of dump. */
const told: ReadonlyMap<number, number> = new Map([
  [messageType.getTable, messageType.newTable],
  [messageType.getChain, messageType.newChain],
  [messageType.getSet, messageType.newSet],
  [messageType.getRule, messageType.newRule],
]);

export class ModelNetlink implements ConversingConnection {
  readonly #side: NftSide;
  readonly #life: Life;

  constructor(side: NftSide, life: Life) {
    this.#side = side;
    this.#life = life;
  }

  async dump(message: NetlinkMessage, onMessage: DumpVisitor): Promise<void> {
    await this.#life.moment();
    this.#side.onDump(message.type);
    for (const { type, payload } of this.#dumped(message)) {
      const view = viewOf(payload);
      onMessage(type, view, 0, view.byteLength);
    }
    await this.#life.moment();
  }

  async converse(messages: readonly NetlinkMessage[], onAnswer: AnswerTo): Promise<void> {
    await this.#life.moment();
    const [first] = messages;
    if (first?.type === batchType.begin) this.#transact(messages, onAnswer);
    else if (first?.type === messageType.getGeneration) this.#tellGeneration(onAnswer);
    else for (const [index, message] of messages.entries()) this.#tellElement(message, index, onAnswer);
    await this.#life.moment();
  }

  request(message: NetlinkMessage): Promise<never> {
    return Promise.reject(unknown(message));
  }

  batch([message]: readonly NetlinkMessage[]): Promise<never> {
    return Promise.reject(unknown(message));
  }

  close(): void {}

  #dumped(message: NetlinkMessage): readonly NetlinkMessage[] {
    const { table } = this.#side;
    if (message.type === messageType.getElements) {
      const map = mapNames.find((name) => isSame(dumpElements(name).payload, message.payload));
      if (map === undefined) throw unknown(message);
      if (!table.isThere) throw new GatewayError("netlink-failed", "ENOENT");
      return encodeAdd(map, table.elements(map));
    }
    const type = told.get(message.type);
    if (type === undefined) throw unknown(message);
    return table.dump(type);
  }

  #transact(messages: readonly NetlinkMessage[], onAnswer: AnswerTo): void {
    const [begin, ...rest] = messages;
    const generation = attributesOf(viewOf(begin?.payload ?? anyHeader), headerBytes).get(NFNL_BATCH_GENID);
    const changes = rest.slice(0, -1);
    if (generation?.getUint32(0) !== this.#side.generation) answer(onAnswer, 0, errnos.ERESTART);
    else if (!this.#side.onCommit(changes)) answer(onAnswer, 0, errnos.ENOMEM);
    else {
      const refusal = this.#side.table.commit(changes);
      if (refusal === undefined) answer(onAnswer, changes.length, 0);
      else answer(onAnswer, refusal.index + 1, errnos[refusal.errno]);
    }
  }

  #tellGeneration(onAnswer: AnswerTo): void {
    const payload = concatBytes(anyHeader, netU32Attribute(NFTA_GEN_ID, this.#side.generation));
    tell(onAnswer, 0, messageType.newGeneration, payload);
  }

  #tellElement(message: NetlinkMessage, index: number, onAnswer: AnswerTo): void {
    const [key] = isElementMessage(message) ? message.keys : [];
    if (message.type !== messageType.getElements || !isElementMessage(message) || key === undefined)
      throw unknown(message);
    if (isGuardSet(message.map)) throw unknown(message);
    const found = this.#side.table.at(message.map, firstOf(key));
    if (found === undefined) answer(onAnswer, index, errnos.ENOENT);
    else {
      const [element] = encodeAdd(message.map, new Map([[found.key, found.value]]));
      if (element !== undefined) tell(onAnswer, index, messageType.newElements, element.payload);
      answer(onAnswer, index, 0);
    }
  }
}

/** A range is found by its first key. */
function firstOf(key: string): string {
  return key
    .split(" . ")
    .map((part) => part.split("-")[0])
    .join(" . ");
}

function tell(onAnswer: AnswerTo, index: number, type: number, payload: Uint8Array): void {
  onAnswer(index, { type, flags: 0, sequence: index, port: 0 }, viewOf(payload), 0, payload.length);
}

/** `struct nlmsgerr` with only the header of the request. */
function answer(onAnswer: AnswerTo, index: number, errno: number): void {
  const view = new DataView(new ArrayBuffer(20));
  view.setInt32(0, -errno, true);
  const header = { type: controlType.error, flags: messageFlag.capped, sequence: index, port: 0 };
  onAnswer(index, header, view, 0, view.byteLength);
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unknown(message: NetlinkMessage | undefined): Error {
  return new Error(`the model knows no message of type ${message?.type}`);
}
