/** Checks whether the VPC side of each object is reached through the VPC interface. */
import { type Chunked, everyNth, filterChunked, mapChunked, sortChunked } from "../../chunked.ts";
import { type AddressValue, compareValues, type Family } from "../../model/family.ts";
import { type Cidr, type Ip, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { ObservedRoute, PolicyRule } from "../../model/observed.ts";
import type { Program } from "../../model/program.ts";
import { mainTable, routeProtocol, routeText } from "../network/routes.ts";
import { hopKey, hopsIn, type SilentHop, silentText } from "./next-hops.ts";
import { leadsTo, routeChoiceText } from "./route-choice.ts";
import type { BroadcastDomain, Packets, RouteChoice, RouteLookup } from "./route-lookup.ts";

export interface ReachResult {
  /** Objects whose packets certainly go another way, each with the reason as text. */
  readonly misrouted: ReadonlyMap<ObjectId, string>;
  /** Objects behind a router of another program's route that does not answer ARP, with the router. */
  readonly cutOff: ReadonlyMap<ObjectId, SilentHop>;
  /** Policy routing rules that may send packets of some objects another way. */
  readonly uncertainRules: ReadonlySet<PolicyRule>;
}

/**
 * Packets to an internal IP must leave by the VPC interface; for an SNAT, some of its clients must be there. With
 * policy routing, packets from them must also leave by the interface of the EIPs. Costs a few lookups per object.
 */
export function* checkReach(
  program: Program,
  routes: readonly ObservedRoute[],
  lookup: RouteLookup,
  silentHops: readonly SilentHop[] = [],
): Chunked<ReachResult> {
  const behind = program.pools.length === 0 ? [] : yield* networksBehind(program, routes);
  const check = new ReachCheck(program, behind, lookup, silentHops);
  const isDue = everyNth(checkedAtOnce);
  const interfaces = new Map<Ip, InterfaceName>();
  for (const eip of program.eips) {
    if (isDue()) yield;
    interfaces.set(eip.address, eip.interface);
    check.eip(eip.id, eip.interface, eip.address);
  }
  const outsideOf = (eip: Ip) => interfaces.get(eip) ?? program.externalInterface;
  for (const { id, eip, internalIp, isOutward } of program.fips) {
    if (isDue()) yield;
    check.inward(id, outsideOf(eip), internalIp);
    if (isOutward) check.outward(id, outsideOf(eip), internalIp);
  }
  for (const { id, eip, backends } of program.dnats) {
    for (const { ip } of backends) {
      if (isDue()) yield;
      check.inward(id, outsideOf(eip), ip);
      check.outward(id, outsideOf(eip), ip);
    }
  }
  for (const { cidr, interface: name, members } of program.pools) {
    for (const { id } of members) {
      if (isDue()) yield;
      check.clients(id, name, cidr);
    }
  }
  return check;
}

/** Takes a few milliseconds. */
const checkedAtOnce = 3_000;

/** First addresses of the networks behind the VPC interface, in rising order. */
function* networksBehind(
  { vpcInterface: vpc, family }: Program,
  routes: readonly ObservedRoute[],
): Chunked<readonly AddressValue[]> {
  const behind = yield* filterChunked(
    routes,
    checkedAtOnce,
    (route) => route.table === mainTable && leadsTo({ route }, vpc),
  );
  const firsts = yield* mapChunked(
    behind,
    checkedAtOnce,
    ({ destination }) => family.rangeOf(destination)[0],
  );
  return yield* sortChunked(firsts, compareValues);
}

class ReachCheck implements ReachResult {
  readonly misrouted = new Map<ObjectId, string>();
  readonly cutOff = new Map<ObjectId, SilentHop>();
  readonly uncertainRules = new Set<PolicyRule>();
  readonly #vpc: InterfaceName;
  readonly #family: Family;
  readonly #lookup: RouteLookup;
  readonly #behind: readonly AddressValue[];

  readonly #silent: ReadonlyMap<string, SilentHop>;

  /** @param behind first addresses of the networks behind the VPC interface, in rising order */
  constructor(
    { vpcInterface, family }: Program,
    behind: readonly AddressValue[],
    lookup: RouteLookup,
    silentHops: readonly SilentHop[],
  ) {
    this.#silent = new Map(silentHops.map((hop) => [hopKey(hop), hop]));
    this.#vpc = vpcInterface;
    this.#family = family;
    this.#lookup = lookup;
    this.#behind = behind;
  }

  /** Without the local table the kernel answers no ARP for an EIP. */
  eip(id: ObjectId, outside: InterfaceName, address: Ip): void {
    if (!this.#lookup.usesLocal) this.#report(id, "no policy routing rule uses the table local");
    const destination = this.#family.toValue(address);
    const route = this.#lookup.hiding(destination);
    const noAnswer = `the kernel answers no ARP for ${address}`;
    if (route !== undefined) this.#report(id, `${noAnswer}, because of the route ${routeText(route)}`);
    const domain = this.#lookup.broadcastOf(destination);
    if (domain !== undefined) this.#report(id, `${noAnswer}: ${broadcastText(domain)}`);
    const choice = this.#lookup.beforeLocal({ inInterface: outside, source: undefined, destination });
    if (choice !== undefined) this.#report(id, `${noAnswer}: ${routeChoiceText(choice)}`);
  }

  /** Checks packets from outside to one address. */
  inward(id: ObjectId, outside: InterfaceName, address: Ip): void {
    const destination = this.#family.toValue(address);
    if (this.#lookup.isLocal(destination)) {
      this.#reportNotReached(id, address, "it is the gateway's own address");
      return;
    }
    const domain = this.#lookup.broadcastOf(destination);
    if (domain !== undefined) this.#reportNotReached(id, address, broadcastText(domain));
    const choice = this.#lookup.of({ inInterface: outside, source: undefined, destination });
    this.#note(choice, this.#vpc);
    if (!leadsTo(choice, this.#vpc) && !this.#isUncertain(choice, this.#vpc))
      this.#reportNotReached(id, address, routeChoiceText(choice));
    else this.#checkNextHop(id, address, choice, address);
  }

  /** @param last the next hop of a route without a router: the destination. `undefined`: many */
  #checkNextHop(id: ObjectId, what: Ip | Cidr, { route }: RouteChoice, last: Ip | undefined): void {
    // Routers of the agent's own routes are reported for the whole gateway.
    if (this.#silent.size === 0 || route === undefined || route.protocol === routeProtocol) return;
    const silent = hopsIn(route).map(({ via = last, interface: name }) =>
      via === undefined || name === undefined
        ? undefined
        : this.#silent.get(hopKey({ via, interface: name })),
    );
    const first = silent.find((hop) => hop !== undefined);
    if (first === undefined) return;
    // Of several routers the kernel also uses one that does not answer.
    if (first.fixedMac === undefined || silent.includes(undefined)) this.cutOff.set(id, first);
    else this.#reportNotReached(id, what, silentText(first));
  }

  /**
   * Checks packets from one address or from clients to any destination. The main table's default route, and one that hides
   * it, are checked elsewhere.
   */
  outward(id: ObjectId, outside: InterfaceName, from: Ip | Cidr): void {
    if (this.#lookup.isPlain) return;
    const source = (from.includes("/") ? from : `${from}/${this.#family.bits}`) as Cidr;
    const packets: Packets = { inInterface: this.#vpc, source, destination: undefined };
    const choice = this.#lookup.of(packets);
    this.#note(choice, outside);
    if (leadsTo(choice, outside)) {
      // The main table's router is reported for the whole gateway.
      if (choice.rule !== undefined) this.#checkNextHop(id, from, choice, undefined);
      return;
    }
    if (this.#isUncertain(choice, outside)) return;
    const isElsewhere = choice.route !== undefined || this.#lookup.inMain(packets) === undefined;
    if (choice.rule === undefined && isElsewhere) return;
    this.#report(id, `${from} does not leave by ${outside}: ${routeChoiceText(choice)}`);
  }

  /** Checks an SNAT's clients. Clients that are nowhere in the VPC send nothing. */
  clients(id: ObjectId, outside: InterfaceName, cidr: Cidr): void {
    const [first] = this.#family.rangeOf(cidr);
    const choice = this.#lookup.of({ inInterface: outside, source: undefined, destination: first });
    const isSomeThere = choice.rule === undefined && this.#holdsNetwork(cidr);
    if (!leadsTo(choice, this.#vpc) && !isSomeThere)
      this.#reportNotReached(id, cidr, routeChoiceText(choice));
    else {
      this.outward(id, outside, cidr);
      if (this.#isOnlyRoute(choice, cidr)) this.#checkNextHop(id, cidr, choice, undefined);
    }
  }

  #holdsNetwork(cidr: Cidr): boolean {
    const [first, last] = this.#family.rangeOf(cidr);
    const next = firstFrom(this.#behind, first);
    return next !== undefined && next <= last;
  }

  /** True if all clients are behind this route: no other network behind the VPC's interface begins among them. */
  #isOnlyRoute({ route }: RouteChoice, cidr: Cidr): boolean {
    if (route === undefined || prefixLengthOf(route.destination) > prefixLengthOf(cidr)) return false;
    const [first, last] = this.#family.rangeOf(cidr);
    const [own] = this.#family.rangeOf(route.destination);
    const next = firstFrom(this.#behind, own === first ? this.#family.plus(first, 1) : first);
    return next === undefined || next > last;
  }

  #note({ alternatives }: RouteChoice, wanted: InterfaceName): void {
    for (const one of alternatives)
      if (one.rule !== undefined && !leadsTo(one, wanted)) this.uncertainRules.add(one.rule);
  }

  /** True if no route is certain, but some packets take one that is right. */
  #isUncertain({ route, rule, alternatives }: RouteChoice, wanted: InterfaceName): boolean {
    if (route !== undefined || rule !== undefined) return false;
    const right = alternatives.filter((one) => leadsTo(one, wanted));
    for (const one of right) if (one.rule !== undefined) this.uncertainRules.add(one.rule);
    return right.length > 0;
  }

  #reportNotReached(id: ObjectId, what: Ip | Cidr, text: string): void {
    this.#report(id, `${what} is not reached through ${this.#vpc}: ${text}`);
  }

  #report(id: ObjectId, message: string): void {
    if (!this.misrouted.has(id)) this.misrouted.set(id, message);
  }
}

function broadcastText({ cidr, interface: name }: BroadcastDomain): string {
  return `it is the broadcast address of ${cidr} on ${name}`;
}

/** The first of rising values that is at least `from`. */
function firstFrom(values: readonly AddressValue[], from: AddressValue): AddressValue | undefined {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? from) < from) low = middle + 1;
    else high = middle;
  }
  return values[low];
}
