/** The agent's rules in iptables, and its table of DNATs with several backends, for one packet. */
import { type Chunked, everyNth } from "../chunked.ts";
import { hostOf, type MaskedAddress, maskedParts } from "../iptables/masked.ts";
import { certainty, type Rule, type RuleSpec } from "../iptables/rule.ts";
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { Program } from "../model/program.ts";
import { backendsPriority, backendsTable, drawText, type ObservedBackends } from "../nftables/backends.ts";
import { tableLabel } from "../nftables/family.ts";
import { concatText } from "../nftables/maps.ts";
import type { IptablesObserved } from "../plan/iptables/observed.ts";
import { ownedChains } from "../plan/iptables/owned.ts";
import type { Hit, OwnHook, OwnRules } from "./own-rules.ts";
import type { Endpoint, Packet } from "./packet.ts";

export function* iptablesRules(
  { rules, backends }: IptablesObserved,
  { family, vpcInterface }: Program,
): Chunked<OwnRules> {
  const nat = rules.get("nat") ?? new Map<string, readonly Rule[]>();
  const mangle = rules.get("mangle");
  const isHooked = mangle
    ?.get("PREROUTING")
    ?.some(({ spec }) => spec?.target.kind === "jump" && spec.target.chain === "VPC_MARK");
  const marksVpc =
    isHooked === true &&
    (mangle
      ?.get("VPC_MARK")
      ?.some(
        ({ spec }) =>
          spec?.target.kind === "mark" &&
          (spec.inInterface === undefined || spec.inInterface === vpcInterface),
      ) ??
      false);
  return {
    enter: (chain, packet) => followOwn(nat, chain, packet, family),
    hooks: backends?.definition === undefined ? [] : [backendsHook(backends, family)],
    marksVpc,
    strange: strangeRules(nat),
  };
}

const maxDepth = 8;
/** Takes a few milliseconds. */
const lookedAtOnce = 2_000;

function* followOwn(
  nat: ReadonlyMap<string, readonly Rule[]>,
  chain: string,
  packet: Packet,
  family: Family,
  depth = 0,
): Chunked<Hit | undefined> {
  const drawn: Endpoint[] = [];
  const isDue = everyNth(lookedAtOnce);
  for (const { spec, raw } of nat.get(chain) ?? []) {
    if (isDue()) yield;
    if (spec === undefined || !isMatch(spec, packet, family)) continue;
    const { target } = spec;
    if (target.kind === "jump") {
      if (target.chain === "RETURN") return undefined;
      if (depth === maxDepth || !ownedChains.nat.includes(target.chain)) continue;
      const hit = yield* followOwn(nat, target.chain, packet, family, depth + 1);
      if (hit !== undefined) return hit;
    } else if (target.kind === "dnat" || target.kind === "snat") {
      const to: Endpoint = { address: target.to, port: target.kind === "dnat" ? target.port : undefined };
      drawn.push(to);
      // The backends of one DNAT are rules that each take a share, and the last one takes the rest.
      if (spec.probability !== undefined && spec.probability < certainty) continue;
      const side = target.kind === "dnat" ? "destination" : "source";
      return { rule: `-A ${chain} ${raw}`, side, to: [drawn[0] ?? to, ...drawn.slice(1)] };
    }
  }
  return undefined;
}

function isMatch(spec: RuleSpec, packet: Packet, family: Family): boolean {
  const { source, destination, inInterface, outInterface, protocol, sourcePort, destinationPort } = spec;
  return (
    (inInterface === undefined || inInterface === packet.in) &&
    (outInterface === undefined || outInterface === packet.out) &&
    (protocol === undefined || protocol === packet.protocol) &&
    (destinationPort === undefined || destinationPort === packet.destinationPort) &&
    (sourcePort === undefined || sourcePort === packet.sourcePort) &&
    (destination === undefined || isWithin(destination, packet.destination, family)) &&
    (source === undefined || isWithin(source, packet.source, family)) &&
    (spec.mark === undefined || packet.isMarked === ((spec.mark.value & spec.mark.mask & 1) === 1)) &&
    (spec.ctState === undefined || (spec.ctState === "DNAT" && packet.isRedirected)) &&
    (spec.ctOriginalDestination === undefined ||
      isWithin(spec.ctOriginalDestination, packet.originalDestination, family))
  );
}

function isWithin(masked: MaskedAddress, address: Ip | undefined, family: Family): boolean {
  if (address === undefined) return false;
  const host = hostOf(masked, family);
  if (host !== undefined) return host === address;
  const { address: network, mask } = maskedParts(masked, family);
  return family.and(family.toValue(address), mask) === family.and(network, mask);
}

/** Maximum number of rules that an answer names. */
const maxStrange = 5;

function strangeRules(nat: ReadonlyMap<string, readonly Rule[]>): readonly string[] {
  const strange: string[] = [];
  for (const [chain, rules] of nat) {
    if (!ownedChains.nat.includes(chain)) continue;
    for (const { spec, raw } of rules) {
      if (spec === undefined) strange.push(`-A ${chain} ${raw}`);
      if (strange.length === maxStrange) return strange;
    }
  }
  return strange;
}

function backendsHook({ elements, chains }: ObservedBackends, family: Family): OwnHook {
  return {
    hook: "prerouting",
    priority: backendsPriority,
    *translate({ destination, protocol, destinationPort }) {
      if (destinationPort === undefined) return undefined;
      const chain = elements.get(concatText(destination, protocol, destinationPort))?.replace(/^goto /, "");
      const rule = chain === undefined ? undefined : chains.get(chain);
      if (chain === undefined || rule === undefined) return undefined;
      const items = [...rule.matchAll(/: (\S+) \. (\d+)/g)].flatMap(
        ([, ip = "", port]): readonly Endpoint[] => {
          const address = family.parse(ip);
          return address === undefined ? [] : [{ address, port: Number(port) }];
        },
      );
      const [first, ...others] = items;
      const label = tableLabel(backendsTable);
      return (
        first && {
          rule: `nft ${label} ${chain}: ${rule}`,
          side: "destination",
          to: [first, ...others],
          isSticky: rule.includes(drawText(items.length, true)),
        }
      );
    },
  };
}
