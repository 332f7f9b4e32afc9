/**
 * Constants of nf_tables over NETLINK_NETFILTER, from include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h. Only
 * those in use.
 */
import { tableFamily } from "./family.ts";

const subsystem = 10 << 8;

/** NFT_MSG_* of the subsystem. Dumped objects come as NEW. */
export const messageType = {
  newTable: subsystem | 0,
  getTable: subsystem | 1,
  deleteTable: subsystem | 2,
  newChain: subsystem | 3,
  getChain: subsystem | 4,
  deleteChain: subsystem | 5,
  newRule: subsystem | 6,
  getRule: subsystem | 7,
  deleteRule: subsystem | 8,
  newSet: subsystem | 9,
  getSet: subsystem | 10,
  newElements: subsystem | 12,
  getElements: subsystem | 13,
  deleteElements: subsystem | 14,
  newGeneration: subsystem | 15,
  getGeneration: subsystem | 16,
  newObject: subsystem | 18,
  getObject: subsystem | 19,
} as const;

/** NFNL_MSG_BATCH_BEGIN and _END, around a transaction. They belong to nfnetlink, not to the subsystem. */
export const batchType = { begin: 16, end: 17 } as const;

/** NFPROTO_* of the tables. */
export const familyNumber = tableFamily.number;
/** `struct nfgenmsg`: family, version 0, resource 0. Precedes the attributes of every message. */
export const inetHeader = tableFamily.netfilterHeader;
/** NFPROTO_INET: tables that see packets of both IP families. */
export const inetNumber = 1;

/** The same message about something of another family. */
export function inFamily<M extends { readonly payload: Uint8Array }>(message: M, family: number): M {
  const payload = message.payload.slice();
  payload[0] = family;
  return { ...message, payload };
}

/** All families. */
export const anyHeader = Uint8Array.of(0, 0, 0, 0);
/** Header of BATCH_BEGIN and _END: the resource is the subsystem, in network byte order. */
export const batchHeader = Uint8Array.of(0, 0, 0, 10);
export const headerBytes = 4;

/** NFNL_BATCH_GENID: the generation on which the sender based the transaction. */
export const NFNL_BATCH_GENID = 1;
export const NFTA_GEN_ID = 1;

export const tableAttribute = { name: 1, flags: 2, use: 3, handle: 4 } as const;
export const chainAttribute = { table: 1, name: 3, hook: 4, policy: 5, type: 7, flags: 10 } as const;
export const hookAttribute = { number: 1, priority: 2, device: 3, devices: 4 } as const;
export const ruleAttribute = {
  table: 1,
  chain: 2,
  handle: 3,
  expressions: 4,
  position: 6,
  userdata: 7,
  pad: 8,
} as const;
export const setAttribute = {
  table: 1,
  name: 2,
  flags: 3,
  keyType: 4,
  keyLength: 5,
  dataType: 6,
  dataLength: 7,
  policy: 8,
  description: 9,
  id: 10,
  timeout: 11,
  userdata: 13,
  objectType: 15,
  expression: 17,
  expressions: 18,
} as const;
export const objectAttribute = { table: 1, name: 2, type: 3, data: 4 } as const;
/** NFT_OBJECT_COUNTER, and NFTA_COUNTER_*, both of 64 bits. */
export const counterObject = 1;
export const counterAttribute = { bytes: 1, packets: 2 } as const;
/** NFTA_SET_DESC_CONCAT in the description, NFTA_SET_FIELD_LEN in each of its entries. */
export const NFTA_SET_DESC_CONCAT = 2;
export const NFTA_SET_FIELD_LEN = 1;
export const setFlag = {
  anonymous: 0x1,
  constant: 0x2,
  interval: 0x4,
  map: 0x8,
  /** Packets may add elements (NFT_SET_EVAL). */
  dynamic: 0x20,
  concatenation: 0x80,
} as const;
/** NFTA_SET_DESC_SIZE in the description: how many elements the set is made for. */
export const NFTA_SET_DESC_SIZE = 1;

/** NFTA_LIST_ELEM: an entry of a list of expressions, fields or elements. */
export const NFTA_LIST_ELEM = 1;
export const NFTA_DATA_VALUE = 1;
export const NFTA_DATA_VERDICT = 2;
export const immediateAttribute = { data: 2 } as const;
export const verdictAttribute = { code: 1, chain: 2 } as const;
/** NFT_GOTO is -4. */
export const gotoCode = -4;
/** NFT_DATA_VERDICT, the data type of a map of verdicts, and the size of `struct nft_verdict`. */
export const verdictType = 0xffffff00;
export const verdictBytes = 16;

export const elementListAttribute = { table: 1, set: 2, elements: 3, setId: 4 } as const;
export const elementAttribute = {
  key: 1,
  data: 2,
  flags: 3,
  userdata: 6,
  expression: 7,
  keyEnd: 10,
  expressions: 11,
} as const;
/** NFT_SET_ELEM_CATCHALL: the element for every key that has no element of its own. */
export const NFT_SET_ELEM_CATCHALL = 2;

export const expressionAttribute = { name: 1, data: 2 } as const;
