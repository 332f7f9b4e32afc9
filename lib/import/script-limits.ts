/** Reads the rate limits that Kube-OVN's script made with tc, as its operations would have asked for them. */
import type { Family } from "../model/family.ts";
import type { Cidr, Ip } from "../model/ip.ts";
import { addressOf, prefixLengthOf } from "../model/ip.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import type { LimitTarget } from "../model/program.ts";
import { type FoundLimit, limitOfTool } from "../plan/qos/rates.ts";
import { redirectedTo, type ScriptedDevice, type ScriptedQos } from "../plan/qos/scripted.ts";
import { handleText, minorOf } from "../tc/handles.ts";
import type { AddressMatch, LimitFilter } from "../tc/limit-filter.ts";
import type { Interfaces } from "./interfaces.ts";
import { asSpec, type ReadLimit } from "./limit-specs.ts";
import type { Unread } from "./read-rules.ts";

export interface ScriptContext {
  readonly family: Family;
  readonly interfaces: Interfaces;
  /** True for an address that is held as EIP, or that rules have as EIP. */
  readonly isEip: (ip: Ip) => boolean;
}

/** In the order of devices and priorities. */
export function readScriptLimits(
  devices: ScriptedQos,
  context: ScriptContext,
): { readonly limits: readonly ReadLimit[]; readonly unread: readonly Unread[] } {
  const limits: ReadLimit[] = [];
  const unread: Unread[] = [];
  for (const [name, device] of devices) {
    const redirected = redirectedTo(name);
    const root = redirected === undefined ? ("egress" as const) : ("ingress" as const);
    const target = parseInterfaceName(redirected ?? name) ?? name;
    for (const [filters, direction, on] of [
      [device.filters, root, target],
      [device.ingress, "ingress", name],
    ] as const)
      for (const filter of filters) {
        const read = readFilter(filter, device, direction, on, context);
        if (read === "redirect") continue;
        if ("spec" in read) limits.push(read);
        else unread.push({ ...read, where: `tc filter ${name}` });
      }
  }
  return { limits, unread };
}

function readFilter(
  filter: LimitFilter,
  { classes }: ScriptedDevice,
  direction: "ingress" | "egress",
  on: InterfaceName,
  context: ScriptContext,
): ReadLimit | "redirect" | Pick<Unread, "what" | "why"> {
  const { kind, priority, matches, police, classId } = filter;
  const what = `pref ${priority} ${kind} flowid ${handleText(classId)}`;
  const held = classes.get(minorOf(classId));
  const limit: FoundLimit | undefined =
    police === undefined
      ? held && limitOfTool({ rate: held.ceil, burst: held.ceilBuffer })
      : limitOfTool(police);
  // The filter that gives all packets to the other device neither polices nor chooses a class.
  if (limit === undefined && kind === "u32" && classId === 0 && matches.length === 0) return "redirect";
  if (limit === undefined) return { what, why: "it has neither a class nor a rate" };
  const source = { what, where: `tc filter ${on}` };
  if (matches.length === 0)
    return asSpec(
      { target: { kind: "all" }, direction, interface: on, limit, priority, source },
      context.interfaces,
    );
  const [match, ...others] = matches;
  const network = match && networkOf(match, context.family);
  if (network === undefined || others.length > 0)
    return { what, why: "it does not match one network of sources or destinations" };
  const target = isOfEip(network, direction, on, filter, context)
    ? ({ kind: "eip", eip: addressOf(network.cidr) } as const)
    : ({ kind: "network", ...network } as const);
  return asSpec({ target, direction, interface: on, limit, priority, source }, context.interfaces);
}

/**
 * A limit of an EIP is of its own address, on the external interface. Its class has a low number; a policer has none, so there the
 * address decides.
 */
function isOfEip(
  { side, cidr }: Network,
  direction: "ingress" | "egress",
  on: InterfaceName,
  { police, classId }: LimitFilter,
  { family, interfaces, isEip }: ScriptContext,
): boolean {
  const isOwn = side === (direction === "egress" ? "source" : "destination");
  const isHost = prefixLengthOf(cidr) === family.bits && on === interfaces.externalInterface;
  const isKind = police === undefined ? minorOf(classId) < firstOfDevices : isEip(addressOf(cidr));
  return isOwn && isHost && isKind;
}

/** The script's classes of limits of devices have this number or a higher one. */
const firstOfDevices = 0x8000;

type Network = Omit<Extract<LimitTarget, { kind: "network" }>, "kind">;

function networkOf({ offset, mask, value }: AddressMatch, family: Family): Network | undefined {
  const side =
    offset === family.nft.sourceAt
      ? ("source" as const)
      : offset === family.nft.destinationAt
        ? ("destination" as const)
        : undefined;
  const [bits, address] = [wordOf(mask, family), wordOf(value, family)];
  const length = family.lengthOfMask(bits);
  if (side === undefined || length === undefined) return undefined;
  const cidr: Cidr = family.makeCidr(family.format(address), length);
  return { side, cidr };
}

function wordOf(word: number, { read }: Family) {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, word);
  return read(view, 0);
}
