/** Existing flows, as a packet of theirs meets them. */
import { protocolNumber } from "../conntrack/destinations.ts";
import { type Flow, type FlowPredicate, flowStatus, type Tuple } from "../conntrack/flow.ts";
import { renderFlow } from "../conntrack/text.ts";
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { ExplainedProtocol, Question } from "./explanation.ts";
import type { FlowTranslation } from "./follow.ts";
import type { Endpoint, Packet } from "./packet.ts";

export function flowText(flow: Flow): string {
  return renderFlow(flow);
}

/** What the flow does to the packet, which is of one of its two directions. */
export function flowTranslation({ original, reply }: Flow, packet: Packet): FlowTranslation {
  const isAnswer = packet.source !== original.source || packet.destination !== original.destination;
  const [here, there] = isAnswer ? [reply, original] : [original, reply];
  const changed = (before: Endpoint, after: Endpoint) =>
    before.address === after.address && before.port === after.port ? undefined : after;
  return {
    source: changed(sourceOf(here), destinationOf(there)),
    destination: changed(destinationOf(here), sourceOf(there)),
  };
}

/** What conntrack calls a packet of the flow: until there was an answer, each packet of its first direction is new. */
export function stateOf({ original, status }: Flow, from: Ip | undefined, to: Ip): Packet["state"] {
  const isAnswer = (from !== undefined && from !== original.source) || to !== original.destination;
  return isAnswer || (status & flowStatus.seenReply) !== 0 ? "established" : "new";
}

function sourceOf({ source, sourcePort }: Tuple): Endpoint {
  return { address: source, port: sourcePort };
}

function destinationOf({ destination, destinationPort }: Tuple): Endpoint {
  return { address: destination, port: destinationPort };
}

/** IP protocol numbers. */
export function numberOf(protocol: ExplainedProtocol, family: Family): number {
  return protocol === "icmp" ? family.icmp : protocolNumber[protocol];
}

/** Matches flows with a direction from one end to the other. Ports that are not asked for can have any value. */
export function flowsOf({ from, to, protocol, port, sourcePort }: Question, family: Family): FlowPredicate {
  const number = numberOf(protocol, family);
  const source = from === undefined ? undefined : family.toValue(from);
  const destination = family.toValue(to);
  const isPort = (wanted: number | undefined, found: number) => wanted === undefined || wanted === found;
  return (flow) => {
    if (flow.protocol !== number || flow.zone !== 0 || (flow.status & flowStatus.dying) !== 0) return false;
    const isThere =
      (source === undefined || flow.originalSource === source) &&
      flow.originalDestination === destination &&
      isPort(port, flow.originalDestinationPort) &&
      isPort(sourcePort, flow.originalSourcePort);
    const isBack =
      (source === undefined || flow.replySource === source) &&
      flow.replyDestination === destination &&
      isPort(port, flow.replyDestinationPort) &&
      isPort(sourcePort, flow.replySourcePort);
    return isThere || isBack;
  };
}
