/** The objects of random sets, and which of them clash: with an older one, or with the gateway itself. */
import { labAddresses } from "../lab.ts";

export const kinds = ["eip", "fip", "snat", "dnat", "limit", "route"] as const;
export type Kind = (typeof kinds)[number];
/** As in a request, in canonical form. */
export type Spec = Readonly<Record<string, unknown>> & { readonly name: string; readonly uid?: string };

interface Claimants {
  readonly defaultGateway: string;
  /** Oldest first. */
  byAge(kind: Kind): readonly Spec[];
}

const own: readonly string[] = [labAddresses.external, labAddresses.vpc, "127.0.0.1"];

/** As `fips/f1`. An object that clashes takes nothing from others. */
export function clashesOf(claimants: Claimants): ReadonlySet<string> {
  const clashes = new Set<string>();
  for (const kind of kinds) {
    const taken = new Set<string>();
    for (const spec of claimants.byAge(kind)) {
      const claim = claimOf(kind, spec);
      if (taken.has(claim) || isObstructed(kind, spec, claimants.defaultGateway))
        clashes.add(`${kind}s/${spec.name}`);
      else taken.add(claim);
    }
  }
  return clashes;
}

function claimOf(kind: Kind, spec: Spec): string {
  const claims: Readonly<Record<Kind, readonly unknown[]>> = {
    eip: [ipOf(spec)],
    fip: [spec.eip],
    snat: [spec.eip, spec.internalCIDR],
    dnat: [spec.eip, spec.protocol, spec.externalPort],
    limit: [spec.eip, spec.direction],
    route: [spec.destination],
  };
  return claims[kind].join(" ");
}

function isObstructed(kind: Kind, spec: Spec, defaultGateway: string): boolean {
  if (kind === "fip") return own.includes(String(spec.internalIp));
  if (kind === "dnat") return backendsOf(spec).some(({ ip }) => own.includes(ip));
  if (kind === "route") return isIn(defaultGateway, String(spec.destination));
  if (kind !== "eip") return false;
  const [ip = "", length = "32"] = String(spec.address).split("/");
  const [first, last] = rangeOf(String(spec.address));
  const isReserved = Number(length) < 31 && [first, last].includes(numberOf(ip));
  // A prefix route of this EIP would take packets from eth0.
  const isEclipsing = isIn(ip, `${labAddresses.vpc}/24`) && Number(length) >= 24 && Number(length) < 32;
  return own.includes(ip) || ip === defaultGateway || isReserved || isEclipsing;
}

export interface Backend {
  readonly ip: string;
  readonly port: number;
}

export function backendsOf(spec: Spec): readonly Backend[] {
  if (Array.isArray(spec.backends)) return spec.backends;
  return [{ ip: String(spec.internalIp), port: Number(spec.internalPort) }];
}

export function ipOf({ address }: Spec): string {
  return String(address).split("/")[0] ?? "";
}

export function numberOf(ip: string): number {
  return ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function textOfNumber(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}

export function rangeOf(cidr: string): readonly [first: number, last: number] {
  const [ip = "", length = "32"] = cidr.split("/");
  const size = 2 ** (32 - Number(length));
  const first = numberOf(ip) - (numberOf(ip) % size);
  return [first, first + size - 1];
}

export function isIn(ip: string, cidr: string): boolean {
  const [first, last] = rangeOf(cidr);
  return numberOf(ip) >= first && numberOf(ip) <= last;
}
