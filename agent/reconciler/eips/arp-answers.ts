/**
 * Whether held EIPs answer ARP, as seen from the wire. The kernel's own answers cannot be seen, but a host that gets none
 * asks again: Linux three times, a second apart. A request that its sender does not repeat was answered.
 */
import { unspecified } from "../../../lib/arp/packet.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { AddressOnLink, HeardArp } from "../../kernel/drivers.ts";

/** So many requests of one host in a row were not answered. */
const unansweredRequests = 3;
/** A request that comes later is not the repetition of the one before. */
const repetitionMs = 3_000;
/** How long an observation counts. */
const keptMs = 300_000;
/** EIPs and hosts that ask for them. More are not observed. */
const maxAsking = 4_096;

interface Asking {
  readonly address: Ip;
  lastMs: number;
  requests: number;
}

export interface ArpAnswersOptions {
  /** The EIPs that the gateway held at the last reading. */
  readonly held: () => ReadonlyMap<Ip, AddressOnLink>;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
}

export class ArpAnswers {
  readonly #options: ArpAnswersOptions;
  /** By EIP and MAC, the one that asked last at the end. */
  readonly #asking = new Map<string, Asking>();

  constructor(options: ArpAnswersOptions) {
    this.#options = options;
  }

  /** Takes in received ARP packets. */
  hear(heard: readonly HeardArp[]): void {
    const nowMs = this.#options.nowMs();
    const held = this.#options.held();
    this.#forgetUntil(nowMs - keptMs);
    for (const { interface: link, packet } of heard) {
      const { operation, senderIp, senderMac, targetIp } = packet;
      // A probe or an announcement wants no answer.
      if (operation !== "request" || senderIp === unspecified || senderIp === targetIp) continue;
      if (held.get(targetIp)?.interface !== link) continue;
      const key = `${targetIp} ${senderMac}`;
      const before = this.#asking.get(key);
      if (before === undefined && this.#asking.size >= maxAsking) continue;
      const isRepetition = before !== undefined && nowMs - before.lastMs <= repetitionMs;
      this.#asking.delete(key);
      this.#asking.set(key, {
        address: targetIp,
        lastMs: nowMs,
        requests: isRepetition ? before.requests + 1 : 1,
      });
    }
  }

  /** Whether each EIP answers that was asked for lately. EIPs about which nothing is known yet are absent. */
  get answers(): ReadonlyMap<Ip, boolean> {
    const nowMs = this.#options.nowMs();
    const held = this.#options.held();
    const answers = new Map<Ip, boolean>();
    for (const { address, lastMs, requests } of this.#asking.values()) {
      if (!held.has(address) || nowMs - lastMs > keptMs) continue;
      const isUnanswered = requests >= unansweredRequests;
      const isAnswered = !isUnanswered && nowMs - lastMs > repetitionMs;
      // A host that gets no answer may be on the other side of a fault: one host with an answer is enough.
      if (isUnanswered) answers.set(address, false);
      else if (isAnswered && !answers.has(address)) answers.set(address, true);
    }
    return answers;
  }

  #forgetUntil(timeMs: number): void {
    for (const [key, { lastMs }] of this.#asking) {
      if (lastMs > timeMs) return;
      this.#asking.delete(key);
    }
  }
}
