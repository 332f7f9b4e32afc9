/**
 * Says what becomes of one packet: follows it through what the kernel has, and its answer back. The first thing that
 * stops it gives the code.
 */
import type { Chunked } from "../chunked.ts";
import { viewOf } from "../conntrack/flow.ts";
import { addressFault } from "./address.ts";
import { describeFlow, describeWay } from "./describe.ts";
import { type Draw, explainDraws } from "./drawn-backends.ts";
import type { ExplainCode, Explanation, Outcome, Question } from "./explanation.ts";
import { stateOf } from "./flows.ts";
import { type FlowTranslation, isTranslating, type Translation } from "./follow.ts";
import { type Journey, travel } from "./journey.ts";
import { Notes } from "./notes.ts";
import { eipAt, faultOf, inwardOf, outwardOf, reasonsOfSnats } from "./objects.ts";
import { answerEnds, type Endpoint, endsOf, type Packet } from "./packet.ts";
import { chanceOf, type TakenPorts } from "./ports.ts";
import { almostSure, chanceText, portsText } from "./ports-text.ts";
import { interfaceOf } from "./sides.ts";
import { wayBack } from "./way-back.ts";
import type { World } from "./world.ts";

/** Backends of one rule that the packet is followed to. */
const mostDraws = 16;

/** Runs in parts. Reads nothing. */
export function* explainChunked(question: Question, world: World): Chunked<Explanation> {
  const first = new Explainer(question, world, 0);
  const explanation = yield* first.explain();
  const [backend, ...others] = first.backends;
  if (backend === undefined || others.length === 0) return explanation;
  const draws: [Draw, ...Draw[]] = [{ backend, explanation }];
  for (const [index, other] of others.slice(0, mostDraws - 1).entries())
    draws.push({ backend: other, explanation: yield* new Explainer(question, world, index + 1).explain() });
  return explainDraws(draws, first.backends.length);
}

const noPorts: TakenPorts = { live: [], closing: [] };

/** Follows the packet to one backend. */
class Explainer {
  readonly #question: Question;
  readonly #world: World;
  readonly #draw: number;
  readonly #notes = new Notes();
  /** Those of which the kernel draws one. */
  backends: readonly Endpoint[] = [];

  /** @param draw which of several backends is drawn */
  constructor(question: Question, world: World, draw: number) {
    this.#question = question;
    this.#world = world;
    this.#draw = draw;
    for (const text of world.own.strange) this.#notes.uncheck(`a rule in the agent's chains: ${text}`);
  }

  *explain(): Chunked<Explanation> {
    const { from } = this.#question;
    const { program, routes } = this.#world;
    if (from !== undefined && routes.isLocal(program.family.toValue(from))) return this.#fromGateway(from);
    const packet = this.#packet();
    const nat = describeFlow(packet, this.#world, this.#notes);
    const absent = this.#address(packet);
    const journey = yield* travel(packet, nat ?? "rules", this.#world, {
      isNatFlow: isTranslating(nat),
      draw: this.#draw,
    });
    this.backends = journey.translations.find(({ side }) => side === "destination")?.to ?? [];
    describeWay(packet, journey, nat, this.#world, this.#notes);
    const { end } = journey;
    if (absent !== undefined) return this.#answer(absent);
    if (end === "local") return this.#answer(this.#local(packet), journey.packet);
    if (end !== "out") return this.#answer({ verdict: "dropped", code: end.code });
    const there = this.#arrived(packet, journey, nat);
    const back = yield* wayBack(packet, journey, nat, this.#world, this.#notes);
    const outcome = there.verdict === "dropped" ? there : (back ?? there);
    return this.#answer(outcome, journey.packet, true);
  }

  #packet(): Packet {
    const { from, to, protocol, port, sourcePort } = this.#question;
    const { program, own, outsides, flows } = this.#world;
    const { exact } = flows;
    const eip = from === undefined ? eipAt(to, this.#world) : undefined;
    const outside = program.eips.find(({ address }) => address === to)?.interface;
    const name =
      from === undefined
        ? (outside ?? (eip && outsides[0]) ?? program.externalInterface)
        : interfaceOf(from, this.#world);
    return {
      in: name,
      out: undefined,
      source: from,
      sourcePort,
      destination: to,
      destinationPort: protocol === "icmp" ? undefined : port,
      protocol,
      state: exact === undefined ? "new" : stateOf(exact, from, to),
      originalDestination: to,
      isRedirected: false,
      isMarked: name === program.vpcInterface && own.marksVpc,
    };
  }

  #fromGateway(from: string): Explanation {
    const detail = `${from} is the gateway's own address: no rule of the agent translates what the gateway itself sends`;
    this.#notes.step({ stage: "route", result: "stops", detail });
    this.#notes.uncheck("packets that the gateway itself sends");
    return this.#answer({ verdict: "local", code: "Local" });
  }

  /** Hosts outside find an EIP by ARP. */
  #address(packet: Packet): Outcome | undefined {
    const { program, routes } = this.#world;
    const { destination } = packet;
    if (packet.in === program.vpcInterface) return undefined;
    const eip = eipAt(destination, this.#world);
    const isHeld = routes.isLocal(program.family.toValue(destination));
    if (eip === undefined && !isHeld) return undefined;
    const id = eip && (`eips/${eip}` as const);
    const fault = addressFault(destination, packet.in, this.#world);
    if (fault === undefined) {
      this.#notes.step({
        stage: "address",
        result: "passes",
        ...(id && { object: id }),
        detail: `${destination} is held`,
      });
      return undefined;
    }
    this.#notes.step({ stage: "address", result: "stops", ...(id && { object: id }), detail: fault.detail });
    return { verdict: fault.isSure ? "dropped" : "unknown", code: fault.code };
  }

  /** The packet ends at the gateway itself. */
  #local(packet: Packet): Outcome {
    const world = this.#world;
    const fault = faultOf(inwardOf(packet, world), world, "Local");
    if (fault !== undefined) {
      this.#notes.replace({ stage: "dnat", result: "none", object: fault.object, detail: fault.detail });
      return { verdict: "local", code: fault.code };
    }
    const standby = reasonsOfSnats(packet.destination, world);
    if (standby.length > 0 && standby.every((reason) => reason === "Standby"))
      return { verdict: "local", code: "Standby" };
    if (packet.destinationPort === undefined && packet.protocol !== "icmp")
      this.#notes.uncheck("rules for single ports: name the port");
    return { verdict: "local", code: "Local" };
  }

  /** The packet leaves. */
  #arrived(packet: Packet, journey: Journey, nat: FlowTranslation | undefined): Outcome {
    const world = this.#world;
    const { program, flows, contradicts } = world;
    const { translations, untracked, packet: last } = journey;
    // An EIP that is not held: the packet goes out, and nobody answers there.
    if (last.destination === packet.destination && eipAt(last.destination, world) !== undefined)
      return { verdict: "dropped", code: "EipNotReady" };
    if (flows.exact !== undefined && nat !== undefined) {
      if (untracked !== undefined) return this.#untrackedBeside(nat);
      const isStale = contradicts(viewOf(flows.exact, program.family));
      return { verdict: "delivered", code: isStale ? "StaleFlow" : this.#codeOfFlow(nat) };
    }
    const own = translations.find(({ isForeign }) => !isForeign);
    if (translations.some(({ isForeign }) => isForeign) && own === undefined)
      return { verdict: "delivered", code: "ForeignRule" };
    if (untracked !== undefined) return { verdict: "delivered", code: "ForeignRule" };
    if (own !== undefined) {
      const full = this.#ports(packet, journey);
      if (full !== undefined) return full;
      return { verdict: "delivered", code: this.#isShadowed(packet, own) ? "Shadowed" : "Translated" };
    }
    const isOutward = last.in === program.vpcInterface && last.out !== program.vpcInterface;
    if (!isOutward) return { verdict: "delivered", code: "NoSnat" };
    this.#notes.uncheck(`whether hosts outside have a route to ${packet.source ?? "the client"}`);
    const fault = faultOf(outwardOf(packet.source, world), world, "NoSnat");
    if (fault === undefined) return { verdict: "delivered", code: "NoSnat" };
    this.#notes.replace({ stage: "snat", result: "none", object: fault.object, detail: fault.detail });
    return { verdict: "delivered", code: fault.code };
  }

  /** The answer begins a flow of its own; beside one that is translated, conntrack may give it another port. */
  #untrackedBeside(nat: FlowTranslation): Outcome {
    if (!isTranslating(nat)) return { verdict: "delivered", code: "ForeignRule" };
    this.#notes.uncheck("the answer, which clashes with the existing flow: conntrack may change its port");
    return { verdict: "unknown", code: "ForeignRule" };
  }

  #codeOfFlow(nat: FlowTranslation): ExplainCode {
    return isTranslating(nat) ? "Translated" : "NoSnat";
  }

  #isShadowed(packet: Packet, own: Translation): boolean {
    const [winner, ...others] = inwardOf(packet, this.#world);
    const isByFip =
      own.side === "destination" && own.to[0].port === undefined && winner?.startsWith("fips/") === true;
    const dnat = others.find((id) => id.startsWith("dnats/"));
    if (!isByFip || dnat === undefined) return false;
    const detail = `${winner} takes all packets of ${packet.destination}; ${dnat} gets none`;
    this.#notes.replace({ stage: "dnat", result: "translates", object: winner, rule: own.rule, detail });
    return true;
  }

  #ports(packet: Packet, { translations, packet: last }: Journey): Outcome | undefined {
    const hit = translations.find(({ side, isForeign }) => side === "source" && !isForeign);
    if (hit === undefined || packet.protocol === "icmp") return undefined;
    const eip = hit.to[0].address;
    const { portsUsed } = this.#world.flows;
    if (portsUsed === undefined || packet.destinationPort === undefined) {
      this.#notes.uncheck(`ports left of ${eip} towards ${last.destination}`);
      return undefined;
    }
    const taken = portsUsed.get(eip) ?? noPorts;
    const chance = chanceOf(taken, packet.sourcePort);
    const detail = `${portsText(taken, eip, packet.sourcePort)} towards this destination${chanceText(chance)}`;
    if (chance >= almostSure) {
      this.#notes.step({ stage: "ports", result: "passes", detail });
      return undefined;
    }
    const isSure = chance <= 1 - almostSure;
    this.#notes.step({ stage: "ports", result: isSure ? "stops" : "unknown", detail });
    return { verdict: isSure ? "dropped" : "unknown", code: "PortsExhausted" };
  }

  /** @param last the packet where it left the gateway or ended in it */
  #answer({ verdict, code }: Outcome, last?: Packet, isAnswered = false): Explanation {
    const translated = last === undefined ? null : endsOf(last);
    return {
      verdict,
      code,
      basis: this.#world.flows.exact === undefined ? "rules" : "flow",
      steps: this.#notes.steps,
      translated,
      reverse: translated !== null && isAnswered ? answerEnds(translated) : null,
      unchecked: this.#notes.unchecked,
    };
  }
}
