/** Checks whether the objects of a desired set work: packets are sent, traced, and their flows deleted again. */
import type { Flow } from "../../../lib/conntrack/flow.ts";
import type { Dnat } from "../../../lib/kinds/dnat.ts";
import type { Eip } from "../../../lib/kinds/eip.ts";
import type { Fip } from "../../../lib/kinds/fip.ts";
import type { Route } from "../../../lib/kinds/route.ts";
import type { Snat } from "../../../lib/kinds/snat.ts";
import { addressOf, type Ip } from "../../../lib/model/ip.ts";
import { contains, ipv4 } from "../../../lib/model/ipv4.ts";
import { type InterfaceName, type ObjectId, objectId } from "../../../lib/model/names.ts";
import type { ModelKernel } from "./kernel.ts";
import { backendsOf, type Oracle } from "./oracle.ts";
import type { Fate, Packet, Transport } from "./tracer.ts";
import { interfaces, outside, pods, refusedPod } from "./universe.ts";

const allPods = [...pods, refusedPod];
/** Random values that select the first, a middle and the last backend of a DNAT. */
const draws = [0, 0.4, 0.999];
let lastPort = 50_000;

/** A packet that starts a new flow. */
export function packetOf(
  from: InterfaceName,
  source: Ip,
  destination: Ip,
  transport: Transport,
  destinationPort: number,
): Packet {
  lastPort = lastPort >= 65_000 ? 50_001 : lastPort + 1;
  return { from, transport, source, sourcePort: lastPort, destination, destinationPort };
}

export class Works {
  readonly #kernel: ModelKernel;
  readonly #oracle: Oracle;

  constructor(kernel: ModelKernel, oracle: Oracle) {
    this.#kernel = kernel;
    this.#oracle = oracle;
  }

  /** What is wrong with the packets of an object, as text. */
  faultOf(id: ObjectId): string | undefined {
    const oracle = this.#oracle;
    if (!oracle.effective.has(id)) return "it is not to be in force";
    const slash = id.indexOf("/");
    const name = id.slice(slash + 1);
    const byName = <S extends { readonly name: string }>(specs: Iterable<S>) =>
      Array.from(specs).find((spec) => spec.name === name);
    const eip = byName(oracle.eips.values());
    const fip = byName(oracle.fips);
    const dnat = byName(oracle.dnats);
    const snat = byName(oracle.snats);
    const route = byName(oracle.routes);
    if (id.startsWith("eips/") && eip) return this.#eipFault(eip);
    if (id.startsWith("fips/") && fip) return this.#fipFault(fip);
    if (id.startsWith("dnats/") && dnat) return this.#dnatFault(dnat);
    if (id.startsWith("snats/") && snat) return this.#snatFault(snat);
    return route && this.#routeFault(route);
  }

  /** The object whose EIP a flow uses. If there are several, any of them. */
  ruledBy({ original, reply, protocol }: Flow): ObjectId | undefined {
    const oracle = this.#oracle;
    const at = (eip: string) => oracle.addressOf(eip);
    const transport = protocol === 6 ? "tcp" : "udp";
    const fip = oracle.fips.find(({ eip }) => at(eip) === original.destination);
    if (fip !== undefined) return objectId("fip", fip.name);
    const dnat = oracle.dnats.find(
      (one) =>
        at(one.eip) === original.destination &&
        one.protocol === transport &&
        one.externalPort === original.destinationPort,
    );
    if (dnat !== undefined) return objectId("dnat", dnat.name);
    const eip = oracle.eips.get(original.destination);
    if (eip !== undefined) return objectId("eip", eip.name);
    const outward = oracle.fips.find(({ internalIp }) => internalIp === original.source);
    if (outward !== undefined && reply.source.startsWith("203.")) return objectId("fip", outward.name);
    const pool = oracle.snats.find(({ internalCIDR }) => contains(internalCIDR, original.source));
    return pool && reply.source.startsWith("203.") ? objectId("snat", pool.name) : undefined;
  }

  /** All differences between oracle and tracer, whatever is Ready: every pod and every EIP, both directions. */
  faults(): readonly string[] {
    const oracle = this.#oracle;
    const faults: string[] = [];
    for (const id of oracle.effective) {
      const fault = this.faultOf(id);
      if (fault !== undefined) faults.push(`${id}: ${fault}`);
    }
    for (const pod of allPods) {
      const eip = oracle.leavesBy(pod);
      const isHeldBack = eip === undefined && this.#kernel.isGateClosed();
      const expected = isHeldBack || !this.#hasWayOut ? "nothing" : (eip ?? pod);
      const fate = this.#send(packetOf(interfaces.vpc, pod, outside, "udp", 53));
      const isOut = fate.kind === "sent" && fate.to === interfaces.external;
      if (expected === "nothing" ? fate.kind !== "dropped" : !isOut || fate.source !== expected)
        faults.push(`${pod} should leave by ${expected}: ${words(fate)}`);
      faults.push(...this.#strayFaults(pod));
    }
    for (const address of oracle.eips.keys()) {
      const stray = this.#send({
        ...packetOf(interfaces.external, outside, address, "tcp", 9),
        isStray: true,
      });
      if (stray.kind !== "dropped" && stray.entry === undefined && stray.kind === "delivered")
        faults.push(`a stray to ${address} came to the gateway: ${words(stray)}`);
      for (const transport of ["tcp", "udp"] as const)
        for (const port of [80, 8080, 53]) faults.push(...this.#inwardFaults(address, transport, port));
    }
    return faults;
  }

  /** Without an address on the external interface none is made, but one that was there stays. */
  get #hasWayOut(): boolean {
    const { addresses, routes } = this.#kernel.network.observe();
    const isOutside = (one: { readonly interface: string | undefined }) =>
      one.interface === interfaces.external;
    const defaults = routes.filter(({ destination }) => destination === ipv4.everything);
    return addresses.some(isOutside) || defaults.some(isOutside);
  }

  /**
   * The same for packets that cannot begin a flow: they are dropped where they should be translated, and nowhere else.
   */
  #strayFaults(pod: Ip): readonly string[] {
    const replies = this.#oracle.dnats.flatMap(({ protocol, ...dnat }) =>
      protocol === "sctp"
        ? []
        : backendsOf({ protocol, ...dnat })
            .filter(({ ip }) => ip === pod)
            .map(({ port }) => ({ protocol, port })),
    );
    const isMapped = this.#oracle.leavesBy(pod) !== undefined;
    const asked = [
      { protocol: "tcp", port: 49_999, isMapped },
      ...replies.map((reply) => ({ ...reply, isMapped: true })),
    ] as const;
    return asked.flatMap(({ protocol, port, isMapped: isGuarded }) => {
      const packet = {
        ...packetOf(interfaces.vpc, pod, outside, protocol, 80),
        sourcePort: port,
        isStray: true,
      };
      const fate = this.#send(packet);
      const isHeldBack = isGuarded || this.#kernel.isGateClosed() || !this.#hasWayOut;
      const isRight = isHeldBack ? fate.kind === "dropped" : fate.kind === "sent" && fate.source === pod;
      return isRight
        ? []
        : [`a stray of ${pod}:${port} should ${isGuarded ? "not " : ""}cross: ${words(fate)}`];
    });
  }

  #inwardFaults(eip: Ip, transport: Transport, port: number): readonly string[] {
    const targets = this.#oracle.targets(eip, transport, port);
    const faults: string[] = [];
    const clients: readonly (readonly [InterfaceName, Ip])[] = [
      [interfaces.external, outside],
      ...pods.map((pod) => [interfaces.vpc, pod] as const),
    ];
    for (const [nic, client] of clients) {
      const seenAs = client === outside ? client : this.#oracle.hairpinsBy(client, eip);
      const reached = new Set<string>();
      for (const draw of draws) {
        const fate = this.#send(packetOf(nic, client, eip, transport, port), draw);
        const isRight =
          targets.length === 0
            ? fate.kind === "delivered" && fate.destination === eip
            : fate.kind === "sent" &&
              fate.to === interfaces.vpc &&
              fate.source === seenAs &&
              targets.some((one) => one.ip === fate.destination && one.port === fate.destinationPort);
        if (!isRight) faults.push(`${client} to ${eip}:${port} by ${transport}: ${words(fate)}`);
        if (fate.kind === "sent") reached.add(`${fate.destination}:${fate.destinationPort}`);
      }
      const isSticky = this.#oracle.isSticky(eip, transport, port);
      const all = isSticky ? Math.min(targets.length, 1) : Math.min(targets.length, draws.length);
      if (reached.size !== all)
        faults.push(`${client} to ${eip}:${port} reaches ${reached.size} of ${all} backends`);
    }
    return faults;
  }

  #eipFault({ address }: Eip): string | undefined {
    const isThere = this.#kernel.network
      .observe()
      .addresses.some(
        (one) => one.interface === interfaces.external && `${one.address}/${one.prefixLength}` === address,
      );
    return isThere ? undefined : `${address} is not on net1`;
  }

  #fipFault({ eip, internalIp }: Fip): string | undefined {
    const address = this.#oracle.addressOf(eip) ?? outside;
    const inward = this.#send(packetOf(interfaces.external, outside, address, "tcp", 81));
    if (!reaches(inward, internalIp, 81)) return `a packet from outside is ${words(inward)}`;
    return this.#outwardFault(internalIp);
  }

  #dnatFault(dnat: Dnat): string | undefined {
    const { eip, protocol, externalPort } = dnat;
    const backends = backendsOf(dnat);
    if (protocol === "sctp" || backends.length === 0) return undefined;
    const address = this.#oracle.addressOf(eip) ?? outside;
    for (const draw of draws) {
      const fate = this.#send(packetOf(interfaces.external, outside, address, protocol, externalPort), draw);
      if (!backends.some(({ ip, port }) => reaches(fate, ip, port)))
        return `a packet from outside is ${words(fate)}`;
    }
    return undefined;
  }

  #snatFault({ internalCIDR, eip }: Snat): string | undefined {
    const address = this.#oracle.addressOf(eip);
    const clients = allPods.filter(
      (pod) => contains(internalCIDR, pod) && this.#oracle.leavesBy(pod) === address,
    );
    for (const client of clients) {
      const fault = this.#outwardFault(client);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  #outwardFault(pod: Ip): string | undefined {
    const expected = this.#oracle.leavesBy(pod);
    const fate = this.#send(packetOf(interfaces.vpc, pod, outside, "udp", 53));
    return fate.kind === "sent" && fate.source === expected
      ? undefined
      : `a packet of ${pod} should leave by ${expected}: ${words(fate)}`;
  }

  #routeFault({ destination, via }: Route): string | undefined {
    const found = this.#kernel.network.routeTo(addressOf(destination));
    return found?.via === via ? undefined : `${destination} leads to ${found?.via}`;
  }

  #send(packet: Packet, draw?: number): Fate {
    const { tracer } = this.#kernel;
    const fate = tracer.send(packet, draw);
    if (fate.kind !== "dropped" && fate.entry !== undefined) tracer.forget(fate.entry);
    return fate;
  }
}

function reaches(fate: Fate, address: Ip, port: number): boolean {
  return fate.kind === "sent" && fate.destination === address && fate.destinationPort === port;
}

function words(fate: Fate): string {
  if (fate.kind === "dropped") return `dropped (${fate.by})`;
  const { source, sourcePort, destination, destinationPort } = fate;
  return `${fate.kind} ${source}:${sourcePort} > ${destination}:${destinationPort}`;
}
