/** The conntrack table of a gateway: fills it with artificial flows, dumps it, empties it. */
import {
  NETLINK_NETFILTER,
  type NetlinkConnection,
  openNetlink,
} from "../../agent/kernel/netlink/connection.ts";
import { openNetlinkSocket } from "../../agent/kernel/netlink/socket.ts";
import { ipv4, parseIp, toU32 } from "../../lib/model/ipv4.ts";
import {
  concatBytes,
  nestedAttribute,
  netU16Attribute,
  netU32Attribute,
  u8Attribute,
} from "../../lib/netlink/attributes.ts";
import { encodeDump } from "../../lib/netlink/ctnetlink.ts";
import { messageFlag, type NetlinkMessage } from "../../lib/netlink/message.ts";
import { runIn } from "../support/in-namespace.ts";
import { timeCommands, timeOf, within } from "./timing.ts";

/** A UDP flow from a client to port 80 of an EIP; a FIP translates it to its internal IP. */
export interface InboundFlow {
  readonly client: string;
  readonly clientPort: number;
  readonly eip: string;
  readonly internalIp: string;
}

const chunkSize = 10_000;
const lifetimeSeconds = 3_600;

export class FlowTable {
  readonly #namespace: string;
  readonly #netlink: NetlinkConnection;

  constructor(namespace: string) {
    this.#namespace = namespace;
    this.#netlink = openNetlink(NETLINK_NETFILTER, {
      open: (protocol) => within(namespace, () => openNetlinkSocket(protocol)),
    });
  }

  close(): void {
    this.#netlink.close();
  }

  async inject(flows: readonly InboundFlow[]): Promise<void> {
    for (let from = 0; from < flows.length; from += chunkSize) {
      const messages = flows.slice(from, from + chunkSize).map(newEntry);
      const errors = (await this.#netlink.batch(messages, deadline())).filter((error) => error !== undefined);
      if (errors.length > 0) throw new Error(`${errors.length} flows not made: ${errors[0]?.message}`);
    }
  }

  /** Time in milliseconds of a raw netlink dump without decoding. */
  timeRawDump(): Promise<number> {
    return timeOf(() => this.#netlink.dump(encodeDump(ipv4), () => undefined, deadline()));
  }

  /** Time in milliseconds of `conntrack -L`. */
  timeToolDump(): number {
    return timeCommands(this.#namespace, [{ argv: ["conntrack", "-L"] }]);
  }

  flush(): void {
    timeCommands(this.#namespace, [{ argv: ["conntrack", "-F"] }]);
  }

  async count(): Promise<number> {
    return Number(await this.#conntrack("-C"));
  }

  /** The flows to these EIPs. Others, such as those of hosts in the lab, come and go by themselves. */
  async countTo(eips: ReadonlySet<string>): Promise<number> {
    const lines = (await this.#conntrack("-L", "-p", "udp")).split("\n");
    return lines.filter((line) => eips.has(/ dst=(\S+)/.exec(line)?.[1] ?? "")).length;
  }

  #conntrack(...args: readonly string[]): Promise<string> {
    return runIn(this.#namespace, ["conntrack", ...args], { timeoutMs: 60_000 });
  }
}

const deadline = () => AbortSignal.timeout(60_000);

/** IPCTNL_MSG_CT_NEW; `nfnetlink_conntrack.h` has the numbers. */
function newEntry({ client, clientPort, eip, internalIp }: InboundFlow): NetlinkMessage {
  return {
    type: 0x100,
    flags: messageFlag.create | messageFlag.exclusive,
    payload: concatBytes(
      Uint8Array.of(2, 0, 0, 0),
      tuple(1, client, clientPort, eip, 80),
      tuple(2, internalIp, 80, client, clientPort),
      netU32Attribute(7, lifetimeSeconds),
    ),
  };
}

function tuple(
  type: number,
  source: string,
  sourcePort: number,
  destination: string,
  port: number,
): Uint8Array {
  return nestedAttribute(
    type,
    nestedAttribute(1, netU32Attribute(1, number(source)), netU32Attribute(2, number(destination))),
    nestedAttribute(2, u8Attribute(1, 17), netU16Attribute(2, sourcePort), netU16Attribute(3, port)),
  );
}

function number(text: string): number {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(`no address: ${text}`);
  return toU32(address);
}
