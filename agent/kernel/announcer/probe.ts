/** Asking a link who holds addresses (RFC 5227 §2.1.1, in less time). */
import { setTimeout as delay } from "node:timers/promises";
import { answerOf, claimOf, decodeArp, encodeArp, type Mac, probeOf } from "../../../lib/arp/packet.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { ProbePurpose } from "../drivers.ts";
import { arpBufferBytes, type PacketSocket } from "./packet-socket.ts";
import { broadcastAll } from "./send.ts";

/** Each address is asked about this often, since one packet is easily lost. */
const waves = 2;
const pollMs = 10;

export interface ProbeRequest {
  readonly mac: Mac;
  readonly addresses: readonly Ip[];
  readonly purpose: ProbePurpose;
  /** True for this gateway's own stations, whose claims are no conflict. */
  readonly isOwn: (mac: Mac) => boolean;
  /** From the first question to the end of waiting, the time of sending aside. */
  readonly windowMs: number;
}

/**
 * Who else holds each address; before one is taken, also who probes for it at this moment. What is answered is not asked about
 * again: of two gateways that probe for one address, the first to hear the other leaves it to him.
 *
 * @returns the others, and the errno's name where the link did not take the questions.
 */
export async function probeLink(
  socket: PacketSocket,
  { mac, addresses, purpose, isOwn, windowMs }: ProbeRequest,
  signal: AbortSignal,
): Promise<{ readonly others: ReadonlyMap<Ip, Mac>; readonly failure: string | undefined }> {
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
    for (const address of asked) if (!others.has(address)) yield encodeArp(probeOf(mac, address));
  }
  for (let wave = 0; wave < waves; wave++) {
    const failure = await broadcastAll(socket, questions(), signal, takeAnswers);
    if (failure !== undefined) {
      takeAnswers();
      return { others, failure };
    }
    const end = performance.now() + windowMs / waves;
    for (
      let leftMs = windowMs / waves;
      leftMs > 0 && others.size < asked.size;
      leftMs = end - performance.now()
    ) {
      await delay(Math.min(pollMs, leftMs), undefined, { signal });
      takeAnswers();
    }
  }
  return { others, failure: undefined };
}
