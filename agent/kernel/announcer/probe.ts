/** Probes a link for holders of addresses (RFC 5227 §2.1.1, with shorter waiting). */
import { setTimeout as delay } from "node:timers/promises";
import { answerOf, claimOf, decodeArp, encodeArp, type Mac, probeOf } from "../../../lib/arp/packet.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { ProbePurpose } from "../drivers.ts";
import { arpBufferBytes, type PacketSocket } from "./packet-socket.ts";
import { broadcastAll } from "./send.ts";

/** Probes per address, because a single packet is easily lost. */
const rounds = 2;
const pollMs = 10;

export interface ProbeRequest {
  readonly mac: Mac;
  readonly addresses: readonly Ip[];
  readonly purpose: ProbePurpose;
  /** Asked before each frame. False: the address is not probed any more. */
  readonly isWanted: (address: Ip) => boolean;
  /** True for the MACs of this gateway. Their claims are no conflict. */
  readonly isOwn: (mac: Mac) => boolean;
  /** Time in ms from the first probe to the end of waiting, without the time of sending. */
  readonly windowMs: number;
}

interface ProbeAnswers {
  readonly others: ReadonlyMap<Ip, Mac>;
  readonly failure: string | undefined;
}

/**
 * Finds the other holder of each address; for `take` also hosts that probe for it right now. An address with a reply is
 * not probed again. If two gateways probe for one address, the first one to hear the other leaves it to the other.
 *
 * @param socket opened on the link to receive; closed here
 * @returns the other hosts, and the name of the errno if the link refused the probes
 */
export async function probeLink(
  socket: PacketSocket,
  request: ProbeRequest,
  signal: AbortSignal,
): Promise<ProbeAnswers> {
  try {
    await socket.opened;
    return await askAll(socket, request, signal);
  } finally {
    socket.close();
  }
}

async function askAll(
  socket: PacketSocket,
  { mac, addresses, purpose, isWanted, isOwn, windowMs }: ProbeRequest,
  signal: AbortSignal,
): Promise<ProbeAnswers> {
  const asked = new Set(addresses);
  const others = new Map<Ip, Mac>();
  const buffer = new Uint8Array(arpBufferBytes);
  const takeAnswers = () => {
    for (;;) {
      const length = socket.receive(buffer);
      if (length < 0) return;
      const packet = decodeArp(buffer.subarray(0, length));
      const address = packet && (purpose === "take" ? claimOf(packet) : answerOf(packet, mac));
      if (packet === undefined || address === undefined) continue;
      if (asked.has(address) && !isOwn(packet.senderMac)) others.set(address, packet.senderMac);
    }
  };
  function* questions() {
    for (const address of asked)
      if (!others.has(address) && isWanted(address)) yield encodeArp(probeOf(mac, address));
  }
  for (let round = 0; round < rounds; round++) {
    const failure = await broadcastAll(socket, questions(), signal, takeAnswers);
    if (failure !== undefined) {
      takeAnswers();
      return { others, failure };
    }
    const end = performance.now() + windowMs / rounds;
    for (
      let leftMs = windowMs / rounds;
      leftMs > 0 && others.size < asked.size;
      leftMs = end - performance.now()
    ) {
      await delay(Math.min(pollMs, leftMs), undefined, { signal });
      takeAnswers();
    }
  }
  return { others, failure: undefined };
}
