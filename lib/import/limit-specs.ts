/** Rate limits that were read, as objects: named as Kube-OVN's operations name them. */
import { bytesPerMB, bytesPerMbit } from "../kinds/limit.ts";
import type { SpecOf } from "../kinds/registry.ts";
import { deviceLimitName, eipLimitName, eipName } from "../kube-ovn/names.ts";
import type { Cidr, Ip } from "../model/ip.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import type { LimitTarget } from "../model/program.ts";
import type { FoundLimit } from "../plan/qos/rates.ts";
import type { Interfaces } from "./interfaces.ts";
import type { Source } from "./read-rules.ts";

/** What the kernel tells of a limit. */
export interface LimitFacts {
  readonly target: LimitTarget;
  readonly direction: "ingress" | "egress";
  /** The interface of the EIP, or the device. */
  readonly interface: InterfaceName;
  readonly limit: FoundLimit;
  readonly priority: number | undefined;
  readonly source: Source;
}

export interface ReadLimit {
  readonly spec: SpecOf["limit"];
  /** Of a limit of an EIP. */
  readonly eip: Ip | undefined;
  /** The interface of the EIP. */
  readonly interface: InterfaceName;
  readonly source: Source;
}

export function asSpec(found: LimitFacts, interfaces: Interfaces): ReadLimit {
  const { target, direction, priority, source, interface: name } = found;
  const common = { direction, ...ratesOf(found.limit), ...(priority !== undefined && { priority }) };
  if (target.kind === "eip") {
    const { eip } = target;
    const spec = { name: eipLimitName(eip, direction), ...common, eip: eipName(eip) };
    return { spec, eip, interface: name, source };
  }
  const device = aliasOf(name, interfaces);
  const match = matchOf(target);
  const spec = {
    name: deviceLimitName(device, direction, match),
    ...common,
    interface: device,
    ...(match !== undefined && { match: { [match.side]: match.cidr } }),
  };
  return { spec, eip: undefined, interface: name, source };
}

/** As Kube-OVN's operations name the two. */
function aliasOf(name: InterfaceName, { vpcInterface, externalInterface }: Interfaces): InterfaceName {
  const alias = name === vpcInterface ? "vpc" : name === externalInterface ? "external" : name;
  return parseInterfaceName(alias) ?? name;
}

function matchOf(target: LimitTarget): { readonly side: "src" | "dst"; readonly cidr: Cidr } | undefined {
  if (target.kind !== "network") return undefined;
  return { side: target.side === "source" ? "src" : "dst", cidr: target.cidr };
}

/** The shortest decimals that give the same class. */
function ratesOf({ rate, burst, isSameBurst }: FoundLimit): Pick<SpecOf["limit"], "rateMbit" | "burstMB"> {
  const rateMbit = shortest(rate / bytesPerMbit, (mbit) => Math.round(mbit * bytesPerMbit) === rate);
  if (burst === undefined) return { rateMbit };
  const megabytes = Math.max(burst / bytesPerMB, minBurstMB);
  return { rateMbit, burstMB: shortest(megabytes, (MB) => isSameBurst(Math.round(MB * bytesPerMB))) };
}

const minBurstMB = 0.001;

function shortest(value: number, isSame: (value: number) => boolean): number {
  for (let digits = 1; digits <= maxDigits; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (rounded >= minBurstMB && isSame(rounded)) return rounded;
  }
  return value;
}

/** Of a double. */
const maxDigits = 17;
