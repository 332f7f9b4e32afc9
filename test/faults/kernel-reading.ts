/** Reads the state of the gateway's kernel with common tools, independently of the agent's code. */
import type { Gateway } from "../support/gateway.ts";

export interface KernelReading {
  /** Addresses on `net1`, without prefix lengths. */
  readonly addresses: ReadonlySet<string>;
  /** EIPs with a hairpin rule. */
  readonly hairpins: ReadonlySet<string>;
  /** EIP → internal IP and back: the two halves of each FIP. */
  readonly inward: ReadonlyMap<string, string>;
  readonly outward: ReadonlyMap<string, string>;
  readonly isForwarding: boolean;
}

/** What the kernel asks for each packet, by the interface where it comes in. */
const forwarding = ["net1", "eth0"].map((nic) => `net.ipv4.conf.${nic}.forwarding`);

/** One reading. Throws while the namespace is being created. */
export async function readKernel({ byHand, lab }: Gateway): Promise<KernelReading> {
  const script = `ip -4 -o address show dev net1 && sysctl ${forwarding.join(" ")}`;
  const [rules, network] = await Promise.all([byHand.read(), lab.exec("gw", ["sh", "-c", script])]);
  return {
    addresses: new Set(Array.from(network.matchAll(/ inet (\S+)\//g), ([, address = ""]) => address)),
    hairpins: new Set(rules.hairpins),
    inward: new Map(rules.inward),
    outward: new Map(rules.outward),
    isForwarding: forwarding.every((setting) => network.includes(`${setting} = 1`)),
  };
}

/** A conntrack entry, by its addresses. */
export interface FlowReading {
  /** Source and destination of the original packets, before any translation. */
  readonly source: string;
  readonly destination: string;
  /**
   * The address that replaced the destination, and the address that it replaced. `undefined` if the destination was not
   * translated.
   */
  readonly dnatOf: string | undefined;
  readonly dnatTo: string | undefined;
  /** The address that replaced the source. */
  readonly snatTo: string | undefined;
}

/** The whole table. A client that keeps sending to a removed EIP creates new entries without translation. */
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
