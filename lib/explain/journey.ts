/** One packet from the interface it comes in by to the one it leaves by, or to where it ends. */
import type { Chunked } from "../chunked.ts";
import type { HookName } from "../netfilter/chain.ts";
import type { ExplainCode, Stage } from "./explanation.ts";
import { type FlowTranslation, type Followed, follow, type Translation } from "./follow.ts";
import type { Endpoint, Packet } from "./packet.ts";
import { forwardingFault, type Routed, route } from "./routing.ts";
import type { World } from "./world.ts";

export interface Stop {
  readonly stage: Stage;
  readonly code: ExplainCode;
  readonly rule?: string | undefined;
  readonly detail: string;
}

export interface Journey {
  /** As it is at its end. */
  readonly packet: Packet;
  readonly translations: readonly Translation[];
  /** The rule because of which conntrack does not see it. */
  readonly untracked: string | undefined;
  /** `undefined` if it ends before routing. */
  readonly routed: Routed | undefined;
  readonly end: "out" | "local" | Stop;
  /** Rules whose effect is not known. */
  readonly uncertain: readonly string[];
}

export interface TravelOptions {
  /** True if its flow is translated in any way, which the gate asks for. */
  readonly isNatFlow: boolean;
  /** Which of several backends is drawn. */
  readonly draw: number;
}

/** @param nat `rules` for a packet that starts a flow, else what its flow does */
export function* travel(
  start: Packet,
  nat: "rules" | "none" | FlowTranslation,
  world: World,
  options: TravelOptions,
): Chunked<Journey> {
  return yield* new Traveller(start, nat, world, options).run();
}

class Traveller {
  readonly #world: World;
  readonly #draw: number;
  readonly #translations: Translation[] = [];
  readonly #uncertain: string[] = [];
  readonly #received: Packet;
  #packet: Packet;
  #nat: "rules" | "none" | FlowTranslation;
  #isNatFlow: boolean;
  #untracked: string | undefined;
  #routed: Routed | undefined;

  constructor(
    start: Packet,
    nat: "rules" | "none" | FlowTranslation,
    world: World,
    { isNatFlow, draw }: TravelOptions,
  ) {
    this.#received = start;
    this.#packet = start;
    this.#nat = nat;
    this.#world = world;
    this.#draw = draw;
    this.#isNatFlow = isNatFlow;
  }

  *run(): Chunked<Journey> {
    const end = yield* this.#end();
    return {
      packet: this.#packet,
      translations: this.#translations,
      untracked: this.#untracked,
      routed: this.#routed,
      end,
      uncertain: this.#uncertain,
    };
  }

  *#end(): Chunked<Journey["end"]> {
    const world = this.#world;
    const before = (yield* this.#hook("ingress")) ?? (yield* this.#hook("prerouting"));
    if (before !== undefined) return before;
    const routed = route(this.#packet, world);
    this.#routed = routed;
    if (routed.kind === "stop") return { stage: "route", ...routed };
    if (routed.kind === "local") return (yield* this.#hook("input")) ?? "local";
    this.#uncertain.push(...routed.uncertain);
    const off = forwardingFault(this.#packet.in, world);
    if (off !== undefined)
      return {
        stage: "forwarding",
        code: "ForwardingOff",
        rule: off,
        detail: `${this.#packet.in} forwards nothing`,
      };
    this.#packet = { ...this.#packet, out: routed.out };
    const forwarded = yield* this.#hook("forward");
    if (forwarded !== undefined) return forwarded;
    if (this.#isHeldBack(false)) return this.#gateStop();
    const leaving = yield* this.#hook("postrouting");
    if (leaving !== undefined) return leaving;
    if (this.#isHeldBack(true)) return this.#gateStop();
    return (yield* this.#hook("egress")) ?? "out";
  }

  *#hook(name: HookName): Chunked<Stop | undefined> {
    const { chains, own, program, network } = this.#world;
    const followed: Followed = yield* follow(name, this.#packet, {
      chains,
      own,
      family: program.family,
      nat: this.#nat,
      draw: this.#draw,
      received: this.#received,
      masqueradeAs: ({ out }): Endpoint | undefined => {
        const found = network.addresses.find((one) => one.interface === out && !one.isSecondary);
        return found && { address: found.address, port: undefined };
      },
    });
    this.#packet = followed.packet;
    this.#translations.push(...followed.translations);
    for (const rule of followed.uncertain) if (!this.#uncertain.includes(rule)) this.#uncertain.push(rule);
    if (followed.untracked !== undefined) {
      this.#untracked = followed.untracked;
      this.#nat = "none";
      this.#isNatFlow = false;
    }
    if (followed.translations.length > 0) this.#isNatFlow = true;
    const { stop: rule } = followed;
    return rule === undefined
      ? undefined
      : { stage: "foreign", code: "ForeignRule", rule, detail: "it is dropped" };
  }

  /** @param isAtEnd true after the rules that translate: a gate that looks at translations is there */
  #isHeldBack(isAtEnd: boolean): boolean {
    const { gate, program, outsides } = this.#world;
    const { in: from, out } = this.#packet;
    if (!gate.isClosed || gate.isSelective !== isAtEnd) return false;
    if (from !== program.vpcInterface || out === undefined || !outsides.includes(out)) return false;
    return !(gate.isSelective && this.#isNatFlow);
  }

  #gateStop(): Stop {
    const { gate } = this.#world;
    const what = gate.isSelective ? "and no rule translates the packet" : "";
    return {
      stage: "gate",
      code: "GateClosed",
      rule: gate.rule,
      detail: `the gate is closed ${what}`.trim(),
    };
  }
}
