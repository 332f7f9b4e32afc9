/**
 * Transactions and reads of nf_tables over one netlink connection.
 *
 * A transaction is one send. The kernel applies all of it or nothing, and only if the ruleset still has the generation
 * that it was planned on. So it never overwrites a concurrent change of another program.
 */

import { GatewayError } from "../../../lib/model/errors.ts";
import {
  attributeType,
  concatBytes,
  netU32Attribute,
  nextAttribute,
  requirePayload,
} from "../../../lib/netlink/attributes.ts";
import {
  controlType,
  messageFlag,
  type NetlinkMessage,
  parseAcknowledgement,
  parseErrorOffset,
} from "../../../lib/netlink/message.ts";
import { forEachElement } from "../../../lib/nftables/decode-elements.ts";
import { encodeGet } from "../../../lib/nftables/encode-elements.ts";
import type { SetName } from "../../../lib/nftables/sets.ts";
import {
  anyHeader,
  batchHeader,
  batchType,
  headerBytes,
  messageType,
  NFNL_BATCH_GENID,
  NFTA_GEN_ID,
} from "../../../lib/nftables/wire.ts";
import { type ConversingConnection, NETLINK_NETFILTER, openNetlink } from "../netlink/connection.ts";
import { type NetlinkError, netlinkError, orAbsent } from "../netlink/refusal.ts";
import { openNetlinkSocket } from "../netlink/socket.ts";

/** The result of a transaction. Unless it is `done`, nothing was changed. */
export type Outcome =
  | { readonly kind: "done" }
  /** Another program wrote since `generation`. */
  | { readonly kind: "stale" }
  | { readonly kind: "refused"; readonly error: NetlinkError; readonly fault: Fault | undefined };

/** What the kernel refused: a message of the transaction, and the position in it. */
export interface Fault {
  readonly message: NetlinkMessage;
  readonly offset: number | undefined;
}

/** A million elements in one transaction are 28 MB. */
const sendBufferBytes = 256 << 20;
/** The kernel processes a transaction during the send, and a commit waits for every packet in progress. */
const timeoutMs = 60_000;

/** A connection that can send whole transactions. */
export function openNftables(): ConversingConnection {
  const open = (protocol: number) => openNetlinkSocket(protocol, { sendBufferBytes });
  return openNetlink(NETLINK_NETFILTER, { timeoutMs, open });
}

/** The ruleset's generation. It changes with every commit of any process in this namespace. */
export async function readGeneration(netlink: ConversingConnection, signal: AbortSignal): Promise<number> {
  let generation: number | undefined;
  await netlink.converse(
    [getGeneration],
    (_, header, view, start, end) => {
      if (header.type === controlType.error)
        throw failed(
          "the ruleset's generation",
          netlinkError(parseAcknowledgement(view, header.flags, start, end)),
        );
      for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end))
        if (attributeType(view, at) === NFTA_GEN_ID)
          generation = view.getUint32(requirePayload(view, at, end, 4));
      return true;
    },
    signal,
  );
  if (generation === undefined) throw new GatewayError("unreadable", "nf_tables returned no generation");
  return generation;
}

/** Whether this kernel has nf_tables; throws if that cannot be determined. */
export async function hasNftables(netlink: ConversingConnection, signal: AbortSignal): Promise<boolean> {
  return (await orAbsent(readGeneration(netlink, signal), absences)) !== undefined;
}

/** What the kernel answers to a request about a part of netfilter that it does not have. */
export const absences = ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EPROTONOSUPPORT", "EAFNOSUPPORT"];

/** Runs one transaction. Takes no signal: a transaction that has begun is finished. */
export async function transact(
  netlink: ConversingConnection,
  generation: number,
  messages: readonly NetlinkMessage[],
): Promise<Outcome> {
  const last = messages.length;
  if (last === 0) return { kind: "done" };
  const enclosed = [
    begin(generation),
    ...messages.map((message, index) =>
      index === last - 1 ? { ...message, flags: message.flags | messageFlag.ack } : message,
    ),
    end,
  ];
  let outcome: Outcome = { kind: "done" };
  await netlink.converse(
    enclosed,
    (index, header, view, start, stop) => {
      if (header.type !== controlType.error) return false;
      const acknowledgement = parseAcknowledgement(view, header.flags, start, stop);
      if (acknowledgement.errno === 0) return index === last;
      const message = messages[index - 1];
      if (acknowledgement.errno === ERESTART) outcome = { kind: "stale" };
      else {
        const offset = parseErrorOffset(view, header.flags, start, stop);
        const fault = message === undefined ? undefined : { message, offset };
        outcome = { kind: "refused", error: netlinkError(acknowledgement), fault };
      }
      return true;
    },
    neverAborted,
  );
  return outcome;
}

/**
 * Reads elements by key, all in one exchange.
 * @returns the value for each key; `undefined` if there is none
 */
export async function readElements(
  netlink: ConversingConnection,
  wanted: readonly { readonly map: SetName; readonly key: string }[],
  signal: AbortSignal,
): Promise<readonly (string | undefined)[]> {
  const values: (string | undefined)[] = wanted.map(() => undefined);
  let answered = 0;
  if (wanted.length === 0) return values;
  await netlink.converse(
    wanted.map(({ map, key }) => encodeGet(map, key)),
    (index, header, view, start, stop) => {
      const asked = wanted[index];
      if (asked === undefined) return false;
      if (header.type === messageType.newElements) {
        // The kernel finds a range by its first key: the result can be another range.
        forEachElement(asked.map, view, start, stop, (key, value) => {
          if (key === asked.key) values[index] = value;
        });
        return false;
      }
      if (header.type !== controlType.error) return false;
      const acknowledgement = parseAcknowledgement(view, header.flags, start, stop);
      if (acknowledgement.errno !== 0 && acknowledgement.errno !== ENOENT)
        throw failed(`${asked.map} ${asked.key}`, netlinkError(acknowledgement));
      return ++answered === wanted.length;
    },
    signal,
  );
  return values;
}

const ENOENT = 2;
const ERESTART = 85;

const neverAborted = new AbortController().signal;

const getGeneration: NetlinkMessage = { type: messageType.getGeneration, flags: 0, payload: anyHeader };
const end: NetlinkMessage = { type: batchType.end, flags: 0, payload: batchHeader };

function begin(generation: number): NetlinkMessage {
  const payload = concatBytes(batchHeader, netU32Attribute(NFNL_BATCH_GENID, generation));
  return { type: batchType.begin, flags: 0, payload };
}

function failed(what: string, error: NetlinkError): GatewayError {
  return new GatewayError("netlink-failed", `reading ${what}: ${error.code}: ${error.message}`, {
    details: { code: error.code },
  });
}
