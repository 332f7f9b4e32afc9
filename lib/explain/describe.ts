/** Says in steps what a packet meets. */
import { viewOf } from "../conntrack/flow.ts";
import { counted } from "../text/quantities.ts";
import type { ExplainStep, Stage } from "./explanation.ts";
import { flowText, flowTranslation } from "./flows.ts";
import type { FlowTranslation, Translation } from "./follow.ts";
import type { Journey, Stop } from "./journey.ts";
import type { Notes } from "./notes.ts";
import { objectBehind } from "./objects.ts";
import { endpointText, type Packet } from "./packet.ts";
import type { World } from "./world.ts";

/** An existing flow decides, however wrong it is. */
export function describeFlow(packet: Packet, world: World, notes: Notes): FlowTranslation | undefined {
  const { flows, contradicts, program } = world;
  const { exact, similar, similarTotal } = flows;
  if (exact !== undefined) {
    const isStale = contradicts(viewOf(exact, program.family));
    const detail = isStale
      ? `this flow exists and keeps its translation, which no object permits: ${flowText(exact)}`
      : `this flow exists and keeps its translation: ${flowText(exact)}`;
    notes.step({ stage: "flow", result: isStale ? "unknown" : "translates", detail });
    return flowTranslation(exact, packet);
  }
  const [first] = similar;
  if (first === undefined) {
    notes.step({ stage: "flow", result: "none", detail: "no flow: the packet starts one" });
    return undefined;
  }
  const stale = similar.find((flow) => contradicts(viewOf(flow, program.family)));
  const what = stale === undefined ? "" : `, one of which no object permits: ${flowText(stale)}`;
  const detail = `${counted(similarTotal, "flow of other source ports keeps its", "flows of other source ports keep their")} own translation, such as ${flowText(first)}${what}`;
  notes.step({ stage: "flow", result: "none", detail });
  notes.uncheck("packets of flows that exist: name the source port");
  return undefined;
}

/** What a packet meets on its way. */
export function describeWay(
  packet: Packet,
  journey: Journey,
  nat: FlowTranslation | undefined,
  world: World,
  notes: Notes,
): void {
  const { routed, end, untracked, uncertain } = journey;
  for (const rule of uncertain) notes.uncheck(`whether it applies: ${rule}`);
  if (untracked !== undefined)
    notes.step({
      stage: "foreign",
      result: "unknown",
      rule: untracked,
      detail: "conntrack does not see the packet, so nothing translates it",
    });
  const stop = typeof end === "string" ? undefined : end;
  if (routed?.kind === "out")
    notes.step({ stage: "route", result: "passes", rule: routed.rule, detail: routed.detail });
  if (routed?.kind === "local") notes.step({ stage: "route", result: "stops", detail: routed.detail });
  if (stop !== undefined) notes.step(stepOf(stop));
  if (routed?.kind === "out" && stop?.stage !== "forwarding")
    notes.step({ stage: "forwarding", result: "passes", detail: `${packet.in} forwards` });
  if (stop?.stage !== "foreign" && untracked === undefined)
    notes.step({ stage: "foreign", result: "passes", detail: "no rule of another program stops it" });
  describeGate(journey, stop, world, notes);
  notes.step({ stage: "guard", result: "passes", detail: guardDetail(untracked, nat) });
  for (const side of ["destination", "source"] as const)
    describeTranslation(side, packet, journey, nat, world, notes);
}

function guardDetail(untracked: string | undefined, nat: FlowTranslation | undefined): string {
  if (untracked !== undefined) return "the guard drops nothing that conntrack does not see";
  return nat === undefined
    ? "the packet starts a flow; the guard drops what conntrack calls INVALID"
    : "the packet belongs to a flow";
}

function describeGate(
  journey: Journey,
  stop: Stop | undefined,
  { gate, program }: World,
  notes: Notes,
): void {
  if (stop?.stage === "gate") return;
  const isOutward = journey.packet.in === program.vpcInterface && journey.packet.out !== program.vpcInterface;
  const detail = !isOutward
    ? "the gate is about packets from the VPC to the outside"
    : gate.isClosed
      ? "the gate is closed, and lets pass what is translated"
      : "the gate is open";
  notes.step({ stage: "gate", result: isOutward ? "passes" : "none", detail });
}

function describeTranslation(
  side: Translation["side"],
  packet: Packet,
  { translations, packet: last }: Journey,
  nat: FlowTranslation | undefined,
  world: World,
  notes: Notes,
): void {
  const stage: Stage = side === "destination" ? "dnat" : "snat";
  const hit = translations.find((one) => one.side === side);
  const { family } = world.program;
  if (hit !== undefined) {
    const before = side === "source" ? { ...last, source: packet.source } : packet;
    const object = hit.isForeign ? undefined : objectBehind(hit, before, world);
    const targets = hit.to.slice(0, maxNamed).map((to) => endpointText(to, family));
    const more = hit.to.length > maxNamed ? ` and ${hit.to.length - maxNamed} more` : "";
    const by = hit.isSticky ? " by the client's address" : "";
    const what = hit.to.length > 1 ? `one of ${targets.join(", ")}${more}${by}` : targets[0];
    const detail = `the ${side} becomes ${what}${hit.isForeign ? ", by a rule of another program" : ""}`;
    notes.step({ stage, result: "translates", ...(object && { object }), rule: hit.rule, detail });
    return;
  }
  const to = nat?.[side];
  if (to !== undefined) {
    notes.step({
      stage,
      result: "translates",
      detail: `by its flow the ${side} becomes ${endpointText(to, family)}`,
    });
    return;
  }
  notes.step({ stage, result: "none", detail: `no rule translates the ${side}` });
}

/** Maximum number of backends in a text. */
const maxNamed = 4;

function stepOf({ stage, rule, detail }: Stop): ExplainStep {
  return { stage, result: "stops", ...(rule !== undefined && { rule }), detail };
}
