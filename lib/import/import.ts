/**
 * Reads the kernel's state as a set of objects: the inverse of compiling and planning. On a gateway that was programmed from a
 * set, the set that this gives compiles to the same rules, addresses and routes. What left no trace in the kernel is not found:
 * SNATs on standby, DNATs without backends, and SNATs all of whose clients have a narrower SNAT.
 */
import { type Chunked, everyNth } from "../chunked.ts";
import { dnatName, eipName, routeName, snatName } from "../kube-ovn/names.ts";
import type { GatewayConfig } from "../model/gateway-config.ts";
import type { Ip } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import { ownAddressesChunked } from "../plan/network/own-addresses.ts";
import { nothingObserved, type QosObserved } from "../plan/qos/observed.ts";
import type { ScriptedQos } from "../plan/qos/scripted.ts";
import { type ImportedSet, SetDraft } from "./draft.ts";
import { fipsOf } from "./fips.ts";
import { chooseInterfaces, type FoundInterfaces, isSameInterfaces } from "./interfaces.ts";
import { readLimits } from "./limits.ts";
import { EipPlaces, readGateway, readRoutes } from "./network.ts";
import { joinRules, type ReadContext, type ReadRules, type Source, type Unread } from "./read-rules.ts";
import { readScriptLimits } from "./script-limits.ts";

export interface ImportInput {
  /** Each dataplane that has rules. The first takes the packets. */
  readonly dataplanes: readonly ReadableDataplane[];
  readonly network: ObservedNetwork;
  readonly ledger: Ledger;
  /** The IPs that owned rules have as EIP. */
  readonly named: ReadonlySet<Ip>;
  readonly config: GatewayConfig;
  /** Absent: limits are not read. */
  readonly qos?: QosObserved | undefined;
  /** Limits of Kube-OVN's script. */
  readonly scripted?: ScriptedQos;
}

/** The rules of one dataplane, as read. */
export interface ReadableDataplane {
  readObjects(context: ReadContext): Chunked<ReadRules>;
  readonly interfaces: FoundInterfaces;
}

export interface Imported {
  readonly set: ImportedSet;
  readonly unread: readonly Unread[];
}

/** Takes a few milliseconds. */
const madeAtOnce = 2_000;

export function* importSet(input: ImportInput): Chunked<Imported> {
  const { dataplanes, network, ledger, named, config: settings } = input;
  const found = dataplanes.map(({ interfaces }) => interfaces);
  const interfaces = chooseInterfaces(found, network, named, settings);
  const config = { ...settings, ...interfaces };
  const { family, vpcInterface, externalInterface } = config;
  const own = yield* ownAddressesChunked({
    observed: network,
    ledger,
    ownedByRules: named,
    vpcInterface,
    family,
  });
  const places = yield* EipPlaces.find(network, own, named, config);
  const context = { family, interfaceOf: (eip: Ip) => places.interfaceOf(eip) };
  const read: ReadRules[] = [];
  for (const dataplane of dataplanes) read.push(yield* dataplane.readObjects(context));
  const { inward, outward, dnats, pools, hairpins, unread: unreadRules, isAgents } = joinRules(read);
  yield;
  const draft = new SetDraft(places, own);
  const isDue = everyNth(madeAtOnce);
  const unread: Unread[] = [...unreadRules];
  const skip = (source: Source, why: string) => unread.push({ ...source, why });

  const fips = yield* fipsOf(inward, outward, skip);
  for (const { eip, internalIp, source } of fips) {
    if (isDue()) yield;
    draft.add("fip", { name: eipName(eip), eip: eipName(eip), internalIp }, eip, source);
  }
  for (const { cidr, members, source, ...pool } of pools) {
    for (const { eip, mapping } of members) {
      if (isDue()) yield;
      const spec = { name: snatName(eip, cidr), eip: eipName(eip), internalCIDR: cidr };
      draft.add("snat", mapping === "random" ? spec : { ...spec, mapping }, eip, source, pool.interface);
    }
  }
  for (const { eip, protocol, externalPort, backends, isList, isSticky = false, source } of dnats) {
    if (isDue()) yield;
    const spec = { name: dnatName(eip, protocol, externalPort), eip: eipName(eip), protocol, externalPort };
    const [{ ip, port }] = backends;
    const target = isList ? { backends: [...backends] } : { internalIp: ip, internalPort: port };
    const affinity = isSticky ? ({ sessionAffinity: "ClientIP" } as const) : {};
    draft.add("dnat", { ...spec, ...target, ...affinity }, eip, source);
  }
  const limits = readLimits(input.qos ?? nothingObserved, interfaces);
  const isEip = (ip: Ip) => places.has(ip) || named.has(ip);
  const scripted = readScriptLimits(input.scripted ?? new Map(), { family, interfaces, isEip });
  for (const { spec, eip, source, ...limit } of [...limits.limits, ...scripted.limits]) {
    if (isDue()) yield;
    draft.add("limit", spec, eip, source, limit.interface);
  }
  for (const eip of hairpins) {
    if (isDue()) yield;
    draft.use(eip);
  }
  const routes = readRoutes(network, config, isAgents);
  for (const { destination, via, interface: side } of routes.routes) {
    const spec = { name: routeName(destination), destination, via };
    const source = { what: `${destination} via ${via}`, where: "main routing table" };
    draft.add("route", side === "vpc" ? spec : { ...spec, interface: side }, undefined, source);
  }
  const defaultGateway = readGateway(network, config);
  const isSetting = defaultGateway === undefined || defaultGateway === config.fallbackGateway;
  const gateway = {
    ...(!isSetting && { defaultGateway }),
    ...(!isSameInterfaces(interfaces, settings) && interfaces),
  };
  const set = yield* draft.finish(gateway, externalInterface);
  return {
    set,
    unread: [...unread, ...draft.unread, ...limits.unread, ...scripted.unread, ...routes.unread],
  };
}
