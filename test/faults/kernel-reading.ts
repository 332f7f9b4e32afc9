/** What the gateway's kernel holds, read by the common tools and not by the agent's own eyes. */
import type { Gateway } from "../support/gateway.ts";

export interface KernelReading {
  /** On `net1`, without prefix lengths. */
  readonly addresses: ReadonlySet<string>;
  /** EIPs with a hairpin. */
  readonly hairpins: ReadonlySet<string>;
  /** EIP → internal IP, and back: the two halves of each FIP. */
  readonly inward: ReadonlyMap<string, string>;
  readonly outward: ReadonlyMap<string, string>;
  readonly isForwarding: boolean;
}

/** One reading; throws where the namespace is just being made. */
export async function readKernel({ byHand, lab }: Gateway): Promise<KernelReading> {
  const script = "ip -4 -o address show dev net1 && sysctl net.ipv4.ip_forward";
  const [rules, network] = await Promise.all([byHand.read(), lab.exec("gw", ["sh", "-c", script])]);
  return {
    addresses: new Set(Array.from(network.matchAll(/ inet (\S+)\//g), ([, address = ""]) => address)),
    hairpins: new Set(rules.hairpins),
    inward: new Map(rules.inward),
    outward: new Map(rules.outward),
    isForwarding: network.includes("net.ipv4.ip_forward = 1"),
  };
}

/** A connection-tracking entry, by its addresses. */
export interface FlowReading {
  /** Whom the original packets come from and go to, before any translation. */
  readonly source: string;
  readonly destination: string;
  /** Whose address replaced the destination's, and the other way round; `undefined` where it was left as it was. */
  readonly dnatOf: string | undefined;
  readonly dnatTo: string | undefined;
  /** Whose address replaced the source's. */
  readonly snatTo: string | undefined;
}

/** The whole table. A client that goes on talking to a removed EIP makes entries anew, which translate nothing. */
export async function readFlows({ lab }: Gateway): Promise<readonly FlowReading[]> {
  const text = await lab.exec("gw", ["conntrack", "-L"]);
  const tuples = /src=(\S+) dst=(\S+) .*src=(\S+) dst=(\S+) /g;
  return Array.from(
    text.matchAll(tuples),
    ([, source = "", destination = "", replier = "", replied = ""]) => ({
      source,
      destination,
      dnatOf: replier === destination ? undefined : destination,
      dnatTo: replier === destination ? undefined : replier,
      snatTo: replied === source ? undefined : replied,
    }),
  );
}

export function holdsEip(kernel: KernelReading, eip: string): boolean {
  return kernel.addresses.has(eip) && kernel.hairpins.has(eip);
}

export function holdsFip(kernel: KernelReading, eip: string, internalIp: string): boolean {
  return (
    kernel.isForwarding &&
    holdsEip(kernel, eip) &&
    kernel.inward.get(eip) === internalIp &&
    kernel.outward.get(internalIp) === eip
  );
}
