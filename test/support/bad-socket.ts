/**
 * The netlink socket of the nftables dataplane with injected faults, as a test orders (rule-faults.ts). It replaces
 * agent/kernel/netlink/socket.ts in agent-on-bad-netlink.ts.
 *
 * Refusals come from the real kernel: it gets bytes that it cannot accept.
 */
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  type NetlinkSocket,
  type NetlinkSocketOptions,
  openNetlinkSocket as open,
} from "../../agent/kernel/netlink/socket.ts";
import { parseIp, toU32 } from "../../lib/model/ipv4.ts";
import { headerLength, messageFlag } from "../../lib/netlink/message.ts";
import { batchHeader, batchType, NFTA_DATA_VALUE } from "../../lib/nftables/wire.ts";

type Send = NetlinkSocket["send"];
type Kind = "transaction" | "dump" | "question";

interface Fault {
  readonly of: Kind;
  /** What to do instead of sending. */
  readonly send?: (bytes: Uint8Array, send: Send, orders: Orders) => Promise<number>;
  /** Replaces the result of receive: the length of an answer, or −errno. */
  readonly receive?: (buffer: Uint8Array, length: number) => number;
}

const ENOMEM = 12;
const ENOBUFS = 105;
const loses = () => -ENOBUFS;

const faults = {
  /** The kernel refuses it without naming a message. */
  fails: { of: "transaction", send: (bytes, send) => send(ofUnknownSubsystem(bytes)) },
  /** The kernel accepts it and does nothing: a batch without an end is only validated. */
  fallsSilent: {
    of: "transaction",
    send: async (bytes, send) => (await send(bytes.slice(0, -endBytes))) + endBytes,
  },
  /** It is applied, but the answer is lost. */
  failsAfterwards: { of: "transaction", receive: loses },
  /** Half of it is sent. */
  dies: { of: "transaction", send: (bytes, send) => send(bytes.slice(0, bytes.length >> 1)) },
  /** The system has no memory for it. */
  failsWithoutWords: { of: "transaction", send: async () => -ENOMEM },
  /** Waits two seconds. */
  dawdles: { of: "transaction", send: (bytes, send) => delay(2_000).then(() => send(bytes)) },
  /** Waits for other orders. */
  hangs: { of: "transaction", send: (bytes, send) => otherOrders().then(() => send(bytes)) },
  /** The kernel refuses each element that contains an address on its own. */
  refusesAddress: { of: "transaction", send: (bytes, send, { address }) => send(spoilt(bytes, address)) },
  /** The kernel refuses what would write rules of iptables, so that its tools have to. */
  refusesToolsRules: {
    of: "transaction",
    send: (bytes, send) => send(namesTable(bytes, "nat") ? ofUnknownSubsystem(bytes) : bytes),
  },
  /** It ends within a message. */
  cutsDump: { of: "dump", receive: (_, length) => length - 4 },
  /** The answer did not fit into the receive buffer. */
  overrunsDump: { of: "dump", receive: loses },
  /** The table changed during the dump. */
  interruptsDump: { of: "dump", receive: asInterrupted },
  /** There is no answer. */
  deafens: { of: "question", receive: loses },
} as const satisfies Record<string, Fault>;
export type SocketFault = keyof typeof faults;

/** The current orders, as JSON in a file. */
export interface Orders {
  readonly fault: SocketFault;
  /** Each order has its own number. */
  readonly number: number;
  /** How often the fault happens. Absent: always. */
  readonly times?: number;
  /** How many calls succeed first. */
  readonly after?: number;
  readonly address?: string;
}

/** Files that the test and the socket share: the orders, and one line for each transaction that was begun. */
export function socketFiles(directory: string) {
  return { orders: join(directory, "netlink.orders"), transactions: join(directory, "netlink.transactions") };
}

const files = socketFiles(process.env.TEST_TOOLS ?? ".");

export function openNetlinkSocket(protocol: number, options?: NetlinkSocketOptions): NetlinkSocket {
  const socket = open(protocol, options);
  let receive: Fault["receive"];
  return {
    ...socket,
    send(bytes) {
      const kind = kindOf(bytes);
      if (kind === "transaction") appendFileSync(files.transactions, `${bytes.length}\n`);
      const orders = due(kind);
      const fault: Fault | undefined = orders && faults[orders.fault];
      receive = fault?.receive;
      return orders && fault?.send ? fault.send(bytes, socket.send, orders) : socket.send(bytes);
    },
    receive(buffer) {
      const length = socket.receive(buffer);
      return length > 0 && receive ? receive(buffer, length) : length;
    },
  };
}

function kindOf(bytes: Uint8Array): Kind {
  const view = viewOf(bytes);
  if (view.getUint16(4, true) === batchType.begin) return "transaction";
  return (view.getUint16(6, true) & messageFlag.dump) === messageFlag.dump ? "dump" : "question";
}

const counted = { number: 0, times: 0 };

/** The orders, if they apply to what is about to be sent. */
function due(kind: Kind): Orders | undefined {
  const orders = readOrders();
  if (orders === undefined || faults[orders.fault].of !== kind) return undefined;
  const { number, after = 0, times = Number.POSITIVE_INFINITY } = orders;
  if (counted.number !== number) Object.assign(counted, { number, times: 0 });
  const time = counted.times++;
  return time >= after && time < after + times ? orders : undefined;
}

async function otherOrders(): Promise<void> {
  while (readOrders()?.fault === "hangs") await delay(20);
}

function readOrders(): Orders | undefined {
  try {
    return JSON.parse(readFileSync(files.orders, "utf8")) as Orders;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function asInterrupted(buffer: Uint8Array, length: number): number {
  const view = viewOf(buffer);
  view.setUint16(6, view.getUint16(6, true) | messageFlag.dumpInterrupted, true);
  return length;
}

/** Size of the message that ends a batch. */
const endBytes = headerLength + batchHeader.length;

/** The begin message of the batch names a subsystem that no kernel has. */
function ofUnknownSubsystem(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[headerLength + 3] = 0xff;
  return copy;
}

/** True if a rule or chain of the transaction is in this table. The name has three letters. */
function namesTable(bytes: Uint8Array, name: string): boolean {
  const attribute = Buffer.from([8, 0, NFTA_RULE_TABLE, 0, ...Buffer.from(`${name}\0`)]);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(attribute);
}

const NFTA_RULE_TABLE = 1;

/** Replaces `address` by something else where it is a whole key or value. */
function spoilt(bytes: Uint8Array, address = ""): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const view = viewOf(copy);
  const parsed = parseIp(address);
  if (parsed === undefined) throw new Error(`not an address: ${address}`);
  for (let at = 0; at + 8 <= copy.length; at += 4) {
    const isValue = view.getUint16(at, true) === 8 && view.getUint16(at + 2, true) === NFTA_DATA_VALUE;
    if (isValue && view.getUint32(at + 4) === toU32(parsed)) view.setUint16(at + 2, NFTA_DATA_VERDICT, true);
  }
  return copy;
}

const NFTA_DATA_VERDICT = 2;

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
