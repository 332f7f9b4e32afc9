/** The hosts that open flows through the gateway and send more packets on them. */
import type { Judge } from "./judge.ts";
import type { ModelKernel } from "./kernel.ts";
import type { Again, Opening } from "./script.ts";
import type { Fate, Packet } from "./tracer.ts";
import { eipAddresses, interfaces, outside, pods, services } from "./universe.ts";

export class Clients {
  readonly #opened: { readonly packet: Packet; readonly fate: Fate }[] = [];

  open({ tracer }: ModelKernel, { from, to, transport, port, sourcePort }: Opening): void {
    const source = from === "outside" ? outside : pods[from];
    const destination = to === "outside" ? outside : eipAddresses[to];
    if (source === undefined || destination === undefined || source === destination) return;
    const nic = from === "outside" ? interfaces.external : interfaces.vpc;
    const destinationPort = to === "outside" ? services[transport][0] : port;
    const packet: Packet = { from: nic, transport, source, sourcePort, destination, destinationPort };
    this.#opened.push({ packet, fate: tracer.send(packet) });
  }

  /** A packet that cannot start a flow is shown to `judge`. */
  again({ tracer }: ModelKernel, { number, isAnswer, isStray }: Again, judge: Pick<Judge, "onStray">): void {
    const one = this.#opened[number % this.#opened.length];
    if (one === undefined || (isAnswer && one.fate.kind !== "sent")) return;
    const base = isAnswer && one.fate.kind === "sent" ? tracer.answer(one.packet, one.fate) : one.packet;
    const packet = { ...base, isStray };
    const fate = tracer.send(packet);
    if (isStray) judge.onStray(packet, fate);
  }
}
