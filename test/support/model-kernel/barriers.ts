/** The nftables tables of guard and gate in memory, as far as they decide about packets. */
import type { Ip } from "../../../lib/model/ip.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import {
  type BarrierFrame,
  type BarrierTransaction,
  barrierLines,
  type ObservedBarrier,
} from "../../../lib/nftables/barrier.ts";
import { type BarrierName, barrierNames } from "../../../lib/nftables/barrier-tables.ts";
import { concatText } from "../../../lib/nftables/maps.ts";
import {
  byGuardSet,
  type GuardElements,
  guardSetNames,
  noGuardElements,
} from "../../../lib/nftables/sets.ts";

/** A packet on its way, as far as guard and gate look at it. */
export interface BarredPacket {
  readonly transport: string;
  readonly in: InterfaceName;
  readonly out?: InterfaceName;
  readonly source: Ip;
  readonly sourcePort: number;
  readonly destination: Ip;
  readonly isInvalid?: boolean;
}

export class Barriers {
  /** How often anything was written. */
  commits = 0;
  readonly #frames = new Map<BarrierName, BarrierFrame>();
  #elements: GuardElements = noGuardElements;

  has(name: BarrierName): boolean {
    return this.#frames.has(name);
  }

  read(): ObservedBarrier {
    const lines = (name: BarrierName) => {
      const frame = this.#frames.get(name);
      return frame && barrierLines(name, frame);
    };
    return { frames: { guard: lines("guard"), gate: lines("gate") }, elements: this.#elements };
  }

  /** One transaction. @returns false where the kernel refuses it */
  write({ frames, add, remove }: BarrierTransaction): boolean {
    const isGuardThere = frames.guard === undefined ? this.has("guard") : frames.guard.make !== undefined;
    const before = frames.guard === undefined ? this.#elements : noGuardElements;
    for (const set of guardSetNames) {
      if (!isGuardThere && add[set].size + remove[set].length > 0) return false;
      if (remove[set].some((key) => !before[set].has(key))) return false;
    }
    for (const name of barrierNames) {
      const change = frames[name];
      if (change === undefined) continue;
      // Made without taking away what is there, or taken away where there is none.
      if (change.isReplaced !== this.has(name)) return false;
      if (change.make === undefined) this.#frames.delete(name);
      else this.#frames.set(name, change.make);
    }
    this.#elements = byGuardSet((set) => {
      const elements = new Map(before[set]);
      for (const key of remove[set]) elements.delete(key);
      for (const key of add[set].keys()) elements.set(key, "");
      return elements;
    });
    this.commits++;
    return true;
  }

  /** True where a packet that would be forwarded is dropped. */
  bars(packet: BarredPacket): boolean {
    const isLeaving = (frame: BarrierFrame | undefined) =>
      frame?.vpcInterface === packet.in && packet.out !== undefined && frame.outsides.includes(packet.out);
    if (isLeaving(this.#frames.get("gate"))) return true;
    return packet.isInvalid === true && isLeaving(this.#frames.get("guard")) && this.#isMapped(packet);
  }

  /** True where a packet is dropped that would come to the gateway itself. */
  barsInput({ destination, isInvalid }: BarredPacket): boolean {
    return isInvalid === true && this.has("guard") && this.#elements.eips.has(destination);
  }

  #isMapped({ source, transport, sourcePort }: BarredPacket): boolean {
    const { fips, backends, clients } = this.#elements;
    if (fips.has(source) || backends.has(concatText(source, transport, sourcePort))) return true;
    return [...clients.keys()].some((key) => {
      const [network = "", mask = ""] = key.split(" . ");
      return ipv4.format(ipv4.and(ipv4.toValue(source), ipv4.toValue(mask as Ip))) === network;
    });
  }
}
