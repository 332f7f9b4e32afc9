/** Where the kernel sends one packet, and whether it forwards it at all. */
import type { InterfaceName } from "../model/names.ts";
import type { ObservedRoute, PolicyRule } from "../model/observed.ts";
import { routeText } from "../plan/network/routes.ts";
import { linkFault } from "../plan/reach/links.ts";
import { silentText } from "../plan/reach/next-hops.ts";
import type { RouteChoice } from "../plan/reach/route-lookup.ts";
import type { ExplainCode } from "./explanation.ts";
import type { Packet } from "./packet.ts";
import { homeOf } from "./sides.ts";
import type { World } from "./world.ts";

export type Routed =
  | { readonly kind: "local"; readonly detail: string }
  | {
      readonly kind: "out";
      readonly out: InterfaceName;
      readonly rule: string;
      readonly detail: string;
      readonly uncertain: readonly string[];
    }
  | { readonly kind: "stop"; readonly code: ExplainCode; readonly rule?: string; readonly detail: string };

export function route(packet: Packet, world: World): Routed {
  const { family } = world.program;
  const destination = family.toValue(packet.destination);
  const incoming = linkFault(world.network.links, packet.in);
  if (incoming !== undefined) return { kind: "stop", code: "NoRoute", detail: incoming.message };
  const martian = martianText(packet, world);
  if (martian !== undefined) return { kind: "stop", code: "Invalid", detail: martian };
  if (world.routes.isLocal(destination))
    return { kind: "local", detail: `${packet.destination} is the gateway's own address` };
  if (!family.isUnicast(packet.destination) || world.routes.broadcastOf(destination) !== undefined)
    return { kind: "stop", code: "Invalid", detail: `${packet.destination} is not the address of one host` };
  const { choice, uncertain } = choose(packet, world);
  const { route: chosen, rule } = choice;
  const by = rule === undefined ? "" : `, by the rule ${rule.text}`;
  if (chosen === undefined)
    return { kind: "stop", code: "NoRoute", detail: `no route leads to ${packet.destination}${by}` };
  const text = routeText(chosen);
  const out = chosen.interface ?? chosen.hops?.find((hop) => hop !== undefined);
  if (chosen.type !== "unicast" || out === undefined)
    return {
      kind: "stop",
      code: "NoRoute",
      rule: text,
      detail: `the route refuses ${packet.destination}${by}`,
    };
  const home = homeOf(packet.destination, world);
  if (home !== undefined && home !== out) {
    const detail = `${packet.destination} is not reached through ${home}: the kernel uses this route${by}`;
    return { kind: "stop", code: "NoRoute", rule: text, detail };
  }
  const fault = linkFault(world.network.links, out);
  if (fault !== undefined) return { kind: "stop", code: "NoRoute", rule: text, detail: fault.message };
  const via = chosen.via ?? packet.destination;
  const silent = world.silentHops.find((hop) => hop.via === via && hop.interface === out);
  if (silent !== undefined)
    return {
      kind: "stop",
      code: "NoRoute",
      rule: text,
      detail: silentText(silent),
    };
  const noArp = world.network.links.find(({ name, isNoArp }) => isNoArp && name === out);
  if (noArp !== undefined)
    return { kind: "stop", code: "NoRoute", rule: text, detail: `ARP is off on ${out}` };
  return { kind: "out", out, rule: text, detail: `to ${packet.destination} by ${out}${by}`, uncertain };
}

/** `undefined` where the kernel forwards what comes in by this interface. */
export function forwardingFault(name: InterfaceName, world: World): string | undefined {
  const { sysctls } = world.program.family;
  const key = sysctls.ofDevice(name, "forwarding");
  const value = world.network.sysctls.get(key) ?? world.network.sysctls.get(sysctls.forwarding);
  return value === 0 ? `${key}=0` : undefined;
}

/** Packets whose source the kernel does not believe. */
function martianText(packet: Packet, world: World): string | undefined {
  const { source } = packet;
  const { family } = world.program;
  if (source === undefined) return undefined;
  if (!family.isUnicast(source)) return `${source} is not the address of one host`;
  if (world.routes.isLocal(family.toValue(source)))
    return `${source} is the gateway's own address: the kernel drops packets with it that come in by ${packet.in}`;
  const { sysctls } = family;
  const settingOf = (device: string) => world.network.sysctls.get(sysctls.ofDevice(device, "rp_filter")) ?? 0;
  const filter = Math.max(settingOf("all"), settingOf(packet.in));
  if (filter === 0) return undefined;
  const back = world.routes.of({
    inInterface: noInterface,
    source: undefined,
    destination: family.toValue(source),
  });
  const isBack = back.route?.type === "unicast" && (filter === 2 || leadsTo(back.route, packet.in));
  return isBack
    ? undefined
    : `rp_filter=${filter} on ${packet.in}: the route to ${source} does not lead back there`;
}

/** No rule names it. */
const noInterface = "" as InterfaceName;

function leadsTo({ interface: name, hops }: ObservedRoute, wanted: InterfaceName): boolean {
  return name === wanted || hops?.includes(wanted) === true;
}

/** Decides by the mark of packets from the VPC where a rule tests it. */
function choose(
  packet: Packet,
  world: World,
): { readonly choice: Pick<RouteChoice, "route" | "rule">; readonly uncertain: readonly string[] } {
  const { family } = world.program;
  const source = packet.source === undefined ? undefined : family.makeCidr(packet.source, family.bits);
  const choice = world.routes.of({
    inInterface: packet.in,
    source,
    destination: family.toValue(packet.destination),
  });
  const uncertain: string[] = [];
  for (const alternative of choice.alternatives) {
    const isTaken = alternative.rule === undefined ? undefined : isByMark(alternative.rule, packet);
    if (isTaken === true) return { choice: alternative, uncertain };
    if (isTaken === undefined) uncertain.push(`ip rule: ${alternative.rule?.text ?? "unknown"}`);
  }
  return { choice, uncertain };
}

/** `undefined` if the rule tests anything else that is not known. */
function isByMark({ text, hasMore }: PolicyRule, { isMarked }: Packet): boolean | undefined {
  const [, value, mask = "0xffffffff"] =
    /\bfwmark (0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?/.exec(text) ?? [];
  const isMore = /\b(?:tos|ipproto|sport|dport|uidrange|tun_id|l3mdev|suppress_\w+|not)\b/.test(text);
  if (!hasMore || value === undefined || isMore) return undefined;
  return ((isMarked ? 1 : 0) & Number(mask)) === Number(value);
}
