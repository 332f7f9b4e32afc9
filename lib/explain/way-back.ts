/** Follows the answer to a packet. */
import type { Chunked } from "../chunked.ts";
import type { Ip } from "../model/ip.ts";
import { isGuardedSource } from "../plan/guard.ts";
import { addressFault } from "./address.ts";
import type { Outcome } from "./explanation.ts";
import { type FlowTranslation, isTranslating } from "./follow.ts";
import { type Journey, travel } from "./journey.ts";
import type { Notes } from "./notes.ts";
import type { Packet } from "./packet.ts";
import { connectedTo } from "./sides.ts";
import type { World } from "./world.ts";

/** The answer: `undefined` if it finds its way. */
export function* wayBack(
  packet: Packet,
  { packet: last, translations, untracked }: Journey,
  nat: FlowTranslation | undefined,
  world: World,
  notes: Notes,
): Chunked<Outcome | undefined> {
  const { program, own } = world;
  if (last.out === undefined) return undefined;
  const isSourceChanged = last.source !== packet.source;
  if (last.out !== program.vpcInterface && isSourceChanged && last.source !== undefined) {
    const fault = addressFault(last.source, last.out, world);
    if (fault !== undefined) {
      notes.step({ stage: "reverse", result: "stops", detail: `the answer: ${fault.detail}` });
      return { verdict: fault.isSure ? "dropped" : "unknown", code: fault.code };
    }
  }
  const isRedirected = last.destination !== packet.destination;
  if (packet.in === last.out && last.out === program.vpcInterface && !isSourceChanged) {
    const past = pastGateway(packet, last.destination, isRedirected, world, notes);
    if (past !== "by the gateway") return past;
  }
  if (packet.source === undefined || last.source === undefined) {
    notes.uncheck("the way back, which depends on the client's address");
    return undefined;
  }
  const answer: Packet = {
    in: last.out,
    out: undefined,
    source: last.destination,
    sourcePort: last.destinationPort,
    destination: last.source,
    destinationPort: last.sourcePort,
    protocol: packet.protocol,
    state: "established",
    originalDestination: packet.destination,
    isRedirected: last.isRedirected,
    isMarked: last.out === program.vpcInterface && own.marksVpc,
  };
  const isTracked = untracked === undefined;
  const undo: FlowTranslation = {
    destination: isSourceChanged ? { address: packet.source, port: packet.sourcePort } : undefined,
    source:
      last.destination === packet.destination && last.destinationPort === packet.destinationPort
        ? undefined
        : { address: packet.destination, port: packet.destinationPort },
  };
  const isNatFlow = isTracked && (translations.length > 0 || isTranslating(nat));
  const first = yield* travel(answer, isTracked ? undo : "none", world, { isNatFlow, draw: 0 });
  const way = isTracked || first.untracked !== undefined ? first : yield* unasked(answer, world);
  for (const rule of way.uncertain) notes.uncheck(`whether it applies to the answer: ${rule}`);
  const { end } = way;
  notes.uncheck(`what ${last.destination} answers`);
  const { source, destination, out } = way.packet;
  const isUndone = source === packet.destination && destination === packet.source;
  if (end === "out" && out === packet.in && isUndone) {
    const detail = `the answer leaves by ${out} from ${source} to ${destination}`;
    notes.step({ stage: "reverse", result: "passes", detail });
    return undefined;
  }
  if (end === "out" || end === "local") {
    const rule = way.untracked ?? (way.routed?.kind === "out" ? way.routed.rule : undefined);
    const detail =
      end === "local"
        ? "the answer ends at the gateway itself"
        : out === packet.in
          ? `the answer leaves from ${source}, not from ${packet.destination}: nothing undoes the translation`
          : `the answer leaves by ${out}, not by ${packet.in}`;
    notes.step({ stage: "reverse", result: "stops", ...(rule && { rule }), detail });
    return { verdict: "dropped", code: way.untracked === undefined ? "NoRoute" : "ForeignRule" };
  }
  const { code, rule, detail } = end;
  notes.step({ stage: "reverse", result: "stops", ...(rule && { rule }), detail: `the answer: ${detail}` });
  return { verdict: "dropped", code };
}

/**
 * An answer that conntrack sees, to a packet that it did not see. One by UDP starts a flow; any other is INVALID, and the guard
 * drops it if an object translates its sender.
 */
function* unasked(answer: Packet, world: World): Chunked<Journey> {
  const isNew = answer.protocol === "udp";
  const packet: Packet = { ...answer, state: isNew ? "new" : "invalid" };
  const journey = yield* travel(packet, isNew ? "rules" : "none", world, { isNatFlow: false, draw: 0 });
  if (isNew || journey.end !== "out" || !leavesGuarded(journey.packet, world)) return journey;
  const detail = "conntrack calls it INVALID, because it did not see the packet";
  return { ...journey, end: { stage: "guard", code: "Invalid", detail } };
}

function leavesGuarded(
  { in: from, out, source, sourcePort, protocol }: Packet,
  { program, outsides }: World,
): boolean {
  const isOutward = from === program.vpcInterface && out !== undefined && outsides.includes(out);
  return isOutward && source !== undefined && isGuardedSource(program, source, protocol, sourcePort);
}

/**
 * The answer between two hosts of the VPC whose packet the gateway sent back where it came from, with its source: it goes to
 * that source. A host of the gateway's own subnet gets it without the gateway.
 */
function pastGateway(
  { source }: Packet,
  host: Ip,
  isRedirected: boolean,
  world: World,
  notes: Notes,
): Outcome | "by the gateway" | undefined {
  if (isRedirected) {
    const isNear = source !== undefined && connectedTo(source, world) === world.program.vpcInterface;
    const detail = `no hairpin rule translates the source: ${host} ${isNear ? "answers" : "may answer"} past the gateway, from its own address`;
    notes.step({ stage: "reverse", result: "stops", detail });
    return { verdict: isNear ? "dropped" : "unknown", code: "NoSnat" };
  }
  if (source === undefined || connectedTo(source, world) !== world.program.vpcInterface)
    return "by the gateway";
  notes.step({ stage: "reverse", result: "none", detail: `${host} answers past the gateway` });
  notes.uncheck(`what ${host} answers`);
  return undefined;
}
