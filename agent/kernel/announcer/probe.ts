/** Asking a link who holds addresses, before they are taken (RFC 5227, in less time). */
import { setTimeout as delay } from "node:timers/promises";
import { claimOf, decodeArp, encodeArp, type Mac, probeOf } from "../../../lib/arp/packet.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import { arpBufferBytes, type PacketSocket } from "./packet-socket.ts";
import { broadcastAll } from "./send.ts";

/** Each address is asked for this often, one packet being easily lost. */
const waves = 2;
const pollMs = 10;

export interface ProbeRequest {
  readonly mac: Mac;
  readonly addresses: readonly Ipv4[];
  /** True for this gateway's own stations, whose claims are no conflict. */
  readonly isOwn: (mac: Mac) => boolean;
  /** From the first question to the end of waiting, the time of sending aside. */
  readonly windowMs: number;
}

/**
 * Who else claims each address: holds it, or probes for it at this moment. What is answered is not asked about again:
 * of two gateways that probe for one address, the first to hear the other leaves it to him.
 *
 * @returns the claims, and the errno's name where the link did not take the questions.
 */
export async function probeLink(
  socket: PacketSocket,
  { mac, addresses, isOwn, windowMs }: ProbeRequest,
  signal: AbortSignal,
): Promise<{ readonly claims: ReadonlyMap<Ipv4, Mac>; readonly failure: string | undefined }> {
  const asked = new Set(addresses);
  const claims = new Map<Ipv4, Mac>();
  const buffer = new Uint8Array(arpBufferBytes);
  const takeAnswers = () => {
    for (;;) {
      const length = socket.receive(buffer);
      if (length < 0) return;
      const packet = decodeArp(buffer.subarray(0, length));
      const address = packet && claimOf(packet);
      if (packet === undefined || address === undefined) continue;
      if (asked.has(address) && !isOwn(packet.senderMac)) claims.set(address, packet.senderMac);
    }
  };
  function* questions() {
    for (const address of asked) if (!claims.has(address)) yield encodeArp(probeOf(mac, address));
  }
  for (let wave = 0; wave < waves; wave++) {
    const failure = await broadcastAll(socket, questions(), signal, takeAnswers);
    if (failure !== undefined) return { claims, failure };
    const end = performance.now() + windowMs / waves;
    for (
      let leftMs = windowMs / waves;
      leftMs > 0 && claims.size < asked.size;
      leftMs = end - performance.now()
    ) {
      await delay(Math.min(pollMs, leftMs), undefined, { signal });
      takeAnswers();
    }
  }
  return { claims, failure: undefined };
}
