/**
 * Traces a packet: routing, mangle marks, nat chains, gate, guard and conntrack, in the kernel's order. This defines
 * what "works" means in the model.
 */

import type { Flow, Tuple } from "../../../lib/conntrack/flow.ts";
import { maskedParts } from "../../../lib/iptables/masked.ts";
import {
  certainty,
  type Rule,
  type RuleSpec,
  type TableName,
  type Target,
} from "../../../lib/iptables/rule.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { ModelBackends } from "./backends-table.ts";
import type { FilterTables } from "./filter-tables.ts";
import type { NatTable } from "./nat-table.ts";
import type { Network } from "./network.ts";
import type { Tables } from "./tables.ts";

export type Transport = "tcp" | "udp";
const numberOf = { tcp: 6, udp: 17 } as const;

export interface Packet {
  readonly from: InterfaceName;
  readonly transport: Transport;
  readonly source: Ip;
  readonly sourcePort: number;
  readonly destination: Ip;
  readonly destinationPort: number;
  /** A packet that cannot start a connection, such as a FIN: without an entry it is INVALID. */
  readonly isStray?: boolean;
}

/** Where a packet came out and with which addresses, or what dropped it. */
export type Fate =
  | ({ readonly kind: "sent"; readonly to: InterfaceName; readonly entry: Flow | undefined } & Tuple)
  | ({ readonly kind: "delivered"; readonly entry: Flow | undefined } & Tuple)
  | { readonly kind: "dropped"; readonly by: "link" | "forwarding" | "route" | "filterTables" | "rule" };

export class Tracer {
  readonly #tables: Tables;
  readonly #filterTables: FilterTables;
  readonly #natTable: NatTable | undefined;
  readonly #backends: ModelBackends;
  readonly #network: Network;
  readonly #entries = new Map<string, Flow>();
  #lastId = 0;
  #lastPort = 20_000;

  constructor(
    tables: Tables,
    filterTables: FilterTables,
    backends: ModelBackends,
    network: Network,
    natTable?: NatTable,
  ) {
    this.#natTable = natTable;
    this.#backends = backends;
    this.#tables = tables;
    this.#filterTables = filterTables;
    this.#network = network;
  }

  /** Every entry once. */
  get flows(): readonly Flow[] {
    return [...new Set(this.#entries.values())];
  }

  /** Deletes an entry if it still is that flow. */
  forget(flow: Flow): boolean {
    const entry = this.#entries.get(keyOf(flow.protocol, flow.original));
    if (entry?.id !== flow.id) return false;
    this.#entries.delete(keyOf(entry.protocol, entry.original));
    this.#entries.delete(keyOf(entry.protocol, entry.reply));
    return true;
  }

  /** The answer to the packet that came out as `fate`, from its destination. */
  answer(packet: Packet, fate: Extract<Fate, { kind: "sent" }>): Packet {
    const { source, sourcePort, destination, destinationPort } = fate;
    return {
      ...packet,
      from: fate.to,
      source: destination,
      sourcePort: destinationPort,
      destination: source,
      destinationPort: sourcePort,
    };
  }

  /**
   * @param dice - the value of random matches, 0 ≤ dice < 1: 0 selects the first backend of a DNAT, almost 1 the last
   */
  send(packet: Packet, dice = 0): Fate {
    if (!this.#network.isUp(packet.from)) return { kind: "dropped", by: "link" };
    const protocol = numberOf[packet.transport];
    const original = tupleOf(packet);
    const isTracking = this.#isTracking();
    const known = isTracking ? this.#entries.get(keyOf(protocol, original)) : undefined;
    const isNew = isTracking && known === undefined && packet.isStray !== true;
    const isInvalid = isTracking && known === undefined && packet.isStray === true;

    const packetView: View = { ...original, transport: packet.transport, in: packet.from, mark: 0, dice };
    this.#walk("mangle", "PREROUTING", packetView);
    const view: View = { ...packetView, ...(known && destinationAfter(known, original)) };
    if (isNew) {
      const first = this.#walk("nat", "PREROUTING", view);
      const target = first?.kind === "dnat" ? first : this.#drawBackend(view);
      if (target?.kind === "dnat") Object.assign(view, { destination: target.to });
      if (target?.kind === "dnat" && target.port !== undefined) view.destinationPort = target.port;
      view.isDnat =
        view.destination !== original.destination || view.destinationPort !== original.destinationPort;
      view.originalDestination = original.destination;
    }
    view.isInvalid = isInvalid;
    // A martian: its source is an address of this host. Conntrack never confirms it.
    if (this.#network.isLocal(packet.source)) return { kind: "dropped", by: "route" };
    if (this.#network.isLocal(view.destination)) {
      if (this.#filterTables.barsInput(view)) return { kind: "dropped", by: "filterTables" };
      if (this.#walk("filter", "INPUT", view)?.kind === "drop") return { kind: "dropped", by: "rule" };
      const entry = isNew ? this.#confirm(protocol, original, view) : known;
      return { kind: "delivered", entry, ...tupleOf(view) };
    }
    const out = this.#network.routeTo(view.destination)?.interface;
    if (!this.#network.isForwarding(packet.from)) return { kind: "dropped", by: "forwarding" };
    if (out === undefined || !this.#network.isUp(out)) return { kind: "dropped", by: "route" };
    view.out = out;
    if (this.#filterTables.bars(view)) return { kind: "dropped", by: "filterTables" };
    if (this.#walk("filter", "FORWARD", view)?.kind === "drop") return { kind: "dropped", by: "rule" };

    if (known !== undefined) Object.assign(view, sourceAfter(known, original));
    const target = isNew ? this.#walk("nat", "POSTROUTING", view) : undefined;
    if (target?.kind === "snat") view.source = target.to;
    if (target?.kind === "snat" && target.isRandom) view.sourcePort = this.#nextPort();
    view.isTranslated = keyOf(protocol, tupleOf(view)) !== keyOf(protocol, original);
    if (this.#filterTables.barsPostrouting(view)) return { kind: "dropped", by: "filterTables" };
    if (!isNew) return { kind: "sent", to: out, entry: known, ...tupleOf(view) };
    const entry = this.#confirm(protocol, original, view);
    return { kind: "sent", to: out, entry, ...tupleOf(view) };
  }

  /** If no rule needs conntrack, it is unhooked: then no packet is translated, not even of live flows. */
  #isTracking(): boolean {
    const needs = ({ spec }: Rule) =>
      spec?.ctState !== undefined || spec?.target.kind === "dnat" || spec?.target.kind === "snat";
    if (this.#natTable?.isTracking === true || this.#backends.isThere) return true;
    return this.#filterTables.has("guard") || this.#tables.all().some(needs);
  }

  #confirm(protocol: number, original: Tuple, view: View): Flow {
    const reply = { ...inverse(tupleOf(view)) };
    while (this.#entries.has(keyOf(protocol, reply))) reply.destinationPort = this.#nextPort();
    view.sourcePort = reply.destinationPort;
    const entry = { protocol, original, reply, status: 0, zone: 0, id: ++this.#lastId };
    this.#entries.set(keyOf(protocol, original), entry);
    this.#entries.set(keyOf(protocol, reply), entry);
    return entry;
  }

  /** The chain behind PREROUTING, for what that has not translated. */
  #drawBackend(view: View): Target | undefined {
    const drawn = this.#backends.draw(view);
    return drawn && { kind: "dnat", to: drawn.ip, port: drawn.port };
  }

  #nextPort(): number {
    return ++this.#lastPort;
  }

  /** The target that ends the packet's path through a chain. MARK is applied on the way. */
  #walk(table: TableName, chain: string, view: View): Target | undefined {
    const hook = chain === "PREROUTING" ? "prerouting" : chain === "POSTROUTING" ? "postrouting" : undefined;
    const target = hook && this.#natTable?.walk(table === "nat" ? "nat" : "filter", hook, view);
    if (target !== undefined) return target;
    for (const { spec } of this.#tables.rules(table, chain)) {
      if (spec === undefined || !matches(spec, view)) continue;
      const { target } = spec;
      if (target.kind === "mark") {
        view.mark = ((view.mark & ~target.mark.mask) ^ target.mark.value) >>> 0;
      } else if (target.kind !== "jump") {
        return target;
      } else {
        if (target.chain === "RETURN") return undefined;
        if (target.chain === "ACCEPT") return target;
        const end = this.#walk(table, target.chain, view);
        if (end !== undefined) return end;
      }
    }
    return undefined;
  }
}

/** A packet in transit. */
interface View {
  readonly transport: Transport;
  readonly in: InterfaceName;
  readonly dice: number;
  out?: InterfaceName;
  source: Ip;
  sourcePort: number;
  destination: Ip;
  destinationPort: number;
  mark: number;
  isDnat?: boolean;
  isInvalid?: boolean;
  isTranslated?: boolean;
  originalDestination?: Ip;
}

function matches(spec: RuleSpec, view: View): boolean {
  const holds = (masked: RuleSpec["source"], ip: Ip | undefined) => {
    if (masked === undefined) return true;
    const { address, mask } = maskedParts(masked, ipv4);
    return ip !== undefined && ipv4.and(ipv4.toValue(ip), mask) === address;
  };
  const isOrAny = (wanted: unknown, found: unknown) => wanted === undefined || wanted === found;
  return (
    holds(spec.source, view.source) &&
    holds(spec.destination, view.destination) &&
    holds(spec.ctOriginalDestination, view.originalDestination) &&
    isOrAny(spec.inInterface, view.in) &&
    isOrAny(spec.outInterface, view.out) &&
    isOrAny(spec.protocol, view.transport) &&
    isOrAny(spec.sourcePort, view.sourcePort) &&
    isOrAny(spec.destinationPort, view.destinationPort) &&
    (spec.mark === undefined || (view.mark & spec.mark.mask) >>> 0 === spec.mark.value) &&
    (spec.ctState !== "DNAT" || view.isDnat === true) &&
    (spec.ctState !== "INVALID" || view.isInvalid === true) &&
    (spec.probability === undefined || view.dice < spec.probability / certainty)
  );
}

function tupleOf({ source, sourcePort, destination, destinationPort }: Tuple): Tuple {
  return { source, sourcePort, destination, destinationPort };
}

function inverse({ source, sourcePort, destination, destinationPort }: Tuple) {
  return {
    source: destination,
    sourcePort: destinationPort,
    destination: source,
    destinationPort: sourcePort,
  };
}

function keyOf(protocol: number, tuple: Tuple): string {
  return `${protocol} ${tuple.source}:${tuple.sourcePort} ${tuple.destination}:${tuple.destinationPort}`;
}

/** For a packet of an existing entry: the tuple of the other direction, reversed. */
function translated(entry: Flow, tuple: Tuple): Tuple {
  const isOriginal = keyOf(entry.protocol, tuple) === keyOf(entry.protocol, entry.original);
  return inverse(isOriginal ? entry.reply : entry.original);
}

function destinationAfter(entry: Flow, tuple: Tuple) {
  const { destination, destinationPort } = translated(entry, tuple);
  return { destination, destinationPort };
}

function sourceAfter(entry: Flow, tuple: Tuple) {
  const { source, sourcePort } = translated(entry, tuple);
  return { source, sourcePort };
}
