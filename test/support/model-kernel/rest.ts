/** What must hold when nothing happens any more, whatever happened before. */
import type { Flow } from "../../../lib/conntrack/flow.ts";
import { makeCidr } from "../../../lib/model/ipv4.ts";
import { kinds, type ObjectId, objectId } from "../../../lib/model/names.ts";
import type { MapName } from "../../../lib/nftables/maps.ts";
import { routeProtocol } from "../../../lib/plan/network/routes.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import { backendsOf, clientsOf, type Oracle } from "./oracle.ts";
import type { Player } from "./player.ts";
import { hosts, interfaces, ours } from "./universe.ts";
import { Works } from "./works.ts";

/** @returns the faults, as text */
export function faultsAtRest(player: Player): readonly string[] {
  const oracle = player.oracle();
  return [
    ...player.judge.violations,
    ...new Works(player.kernel, oracle).faults(),
    ...readiness(player, oracle),
    ...(player.kernel.natTable === undefined ? rules(player, oracle) : elements(player, oracle)),
    ...gate(player),
    ...network(player, oracle),
    ...ledger(player, oracle),
    ...player.strangers.missed().map((what) => `${what} is gone`),
    ...player.kernel.tracer.flows
      .filter((flow) => oracle.permits(flow, ours) === false && !(player.isStrayed && isStrays(flow, oracle)))
      .map((flow) => `a flow contradicts the set: ${JSON.stringify(flow)}`),
  ];
}

/** True for a flow that no object of the set ever affected. */
function isStrays({ original, reply }: Flow, { eips }: Oracle): boolean {
  const isPlain = reply.destination === original.source;
  return !eips.has(original.destination) && (isPlain || !eips.has(reply.destination));
}

function readiness(player: Player, { effective }: Oracle): readonly string[] {
  const faults: string[] = [];
  for (const kind of kinds) {
    for (const name of objectsOf(player.desired, kind).keys()) {
      const id: ObjectId = objectId(kind, name);
      const { ready, conditions } = player.agent.board.statusOf(id);
      if (ready === effective.has(id)) continue;
      faults.push(
        `${id} should be ${effective.has(id) ? "" : "not "}Ready: ${JSON.stringify(conditions[2])}`,
      );
    }
  }
  return faults;
}

/** The number of rules matches the set, each hook exists once, and no rule names an EIP that is not in force. */
function rules(player: Player, oracle: Oracle): readonly string[] {
  const { tables, hasFilterTables, backends } = player.kernel;
  const listed = hasFilterTables
    ? oracle.dnats.filter((dnat) => dnat.backends !== undefined && dnat.backends.length > 0)
    : [];
  const outward = new Set(oracle.fips.map(({ internalIp }) => internalIp));
  const byCidr = Map.groupBy(oracle.snats, ({ internalCIDR }) => internalCIDR);
  const buckets = new Set(
    [...byCidr].flatMap(([cidr, snats]) => {
      const members = Math.min(snats.length, clientsOf(cidr));
      const count = members === 1 ? 1 : Math.min(16, clientsOf(cidr));
      // A bucket with a single client has the same text as that client's own /32.
      return Array.from({ length: count }, (_, bucket) => `${cidr} ${bucket}`);
    }),
  ).size;
  const wanted: Readonly<Record<string, number>> = {
    DNAT_FILTER: 2,
    SNAT_FILTER: 3,
    EXCLUSIVE_DNAT: oracle.fips.length,
    EXCLUSIVE_SNAT: outward.size,
    SHARED_DNAT: oracle.dnats
      .filter((dnat) => !listed.includes(dnat))
      .reduce((sum, dnat) => sum + backendsOf(dnat).length, 0),
    SHARED_SNAT: buckets,
    HAIRPIN_SNAT: oracle.eips.size,
  };
  const faults: string[] = [];
  for (const [chain, count] of Object.entries(wanted)) {
    const found = tables.rules("nat", chain).length;
    const isRepeated = chain === "SHARED_SNAT" && found < count && byCidr.size > 1;
    if (found !== count && !isRepeated) faults.push(`${chain} holds ${found} rules, not ${count}`);
  }
  const { size } = backends;
  if (size.elements !== listed.length || size.chains !== listed.length)
    faults.push(`the table of backends holds ${JSON.stringify(size)}, not ${listed.length} of each`);
  if (backends.isThere !== hasFilterTables) faults.push("the table of backends is not there, or without nft");
  const hooks = [
    ["nat", "PREROUTING", "DNAT_FILTER"],
    ["nat", "POSTROUTING", "SNAT_FILTER"],
    ["mangle", "PREROUTING", "VPC_MARK"],
    ...(hasFilterTables
      ? []
      : ([
          ["filter", "FORWARD", "NATGW_GUARD"],
          ["filter", "INPUT", "NATGW_INPUT"],
        ] as const)),
  ] as const;
  for (const [table, hook, chain] of hooks) {
    const count = tables.rules(table, hook).filter(({ text }) => text === `-j ${chain}`).length;
    if (count !== 1) faults.push(`${hook} of ${table} leads to ${chain} ${count} times`);
  }
  for (const address of ours) {
    const isNamed =
      tables.all().some(({ text }) => text.includes(`${address}/`) || text.endsWith(` ${address}`)) ||
      backends.texts().some((text) => text.split(" ").includes(address));
    if (isNamed && !oracle.ruled.has(address)) faults.push(`a rule names ${address}, which is not in force`);
  }
  return faults;
}

/**
 * The same for the elements of nftables. The number of elements of a pool is not compared: packets show how its clients
 * are translated.
 */
function elements({ kernel: { natTable } }: Player, oracle: Oracle): readonly string[] {
  const count = (...maps: readonly MapName[]) =>
    maps.reduce((sum, map) => sum + (natTable?.elements(map).size ?? 0), 0);
  const found = {
    fip_in: count("fip_in"),
    fip_out: count("fip_out"),
    dnat: count("dnat_1", "dnat_n"),
    hairpin: count("hairpin"),
  };
  const wanted: typeof found = {
    fip_in: oracle.fips.length,
    fip_out: new Set(oracle.fips.map(({ internalIp }) => internalIp)).size,
    dnat: oracle.dnats.reduce((sum, dnat) => sum + backendsOf(dnat).length, 0),
    hairpin: oracle.eips.size,
  };
  const faults: string[] = [];
  const [held, asked] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (held !== asked) faults.push(`the maps hold ${held}, not ${asked}`);
  if (oracle.snats.length === 0 && count("snat_r", "snat_p") > 0)
    faults.push("clients of no pool are translated");
  for (const address of ours) {
    const isNamed = natTable?.texts().some((text) => text.split(" ").includes(address)) === true;
    if (isNamed && !oracle.ruled.has(address))
      faults.push(`an element names ${address}, which is not in force`);
  }
  return faults;
}

/**
 * Where it is a table it waits for a set: a stored one that came by single writes may still be waited for. A namespace in use never
 * had one.
 */
function gate({ kernel, judge }: Player): readonly string[] {
  const isDue = judge.isFullSetAccepted || !kernel.hasFilterTables;
  if (isDue) return kernel.isGateClosed() ? ["the gate is still there"] : [];
  return judge.isFresh && !judge.isSetAccepted && !kernel.isGateClosed()
    ? ["the gate is gone, and no set was accepted"]
    : [];
}

function network(player: Player, oracle: Oracle): readonly string[] {
  const { kernel, strangers } = player;
  const { addresses, routes } = kernel.network.observe();
  const wanted = new Set([...oracle.eips.values()].map(({ address }) => address));
  const others = new Set([
    `${hosts.external}/24`,
    ...strangers.addresses.map((one) => `${one.address}/${one.prefixLength}`),
  ]);
  const faults: string[] = [];
  for (const { address, prefixLength, interface: name, isSecondary } of addresses) {
    const text = `${address}/${prefixLength}`;
    if (name !== interfaces.external || wanted.delete(text as never) || others.has(text)) continue;
    if (player.hasLost && (player.hasDrifted || !isSecondary)) continue;
    faults.push(`${text} was left on net1`);
  }
  for (const text of wanted) faults.push(`${text} is not on net1`);
  const destinations = new Set<string>(oracle.routes.map(({ destination }) => destination));
  // A route that the kernel refuses to replace stays as it was.
  const refused = new Set<string>(
    [...player.desired.routes.values()]
      .filter(({ spec }) => player.kept().has(objectId("route", spec.name)))
      .map(({ spec }) => spec.destination),
  );
  for (const { destination, protocol, via, isOnlink } of routes) {
    if (destination === makeCidr(destination.split("/")[0] as never, 0)) {
      if (via !== oracle.defaultGateway || !isOnlink) faults.push(`the default route leads to ${via}`);
      destinations.delete(destination);
    } else if (protocol === routeProtocol && !destinations.delete(destination) && !refused.has(destination)) {
      faults.push(`the route to ${destination} was left`);
    }
  }
  for (const destination of destinations) faults.push(`there is no route to ${destination}`);
  if (!kernel.network.isForwarding(interfaces.vpc) || !kernel.network.isForwarding(interfaces.external))
    faults.push("packets are not forwarded");
  return faults;
}

/** The ledger names exactly the EIPs in force, and no sweep is pending. */
function ledger(player: Player, oracle: Oracle): readonly string[] {
  const { addresses, retired } = player.disk.state.ledger;
  const named = [...addresses.values()]
    .map(({ address, prefixLength }) => `${address}/${prefixLength}`)
    .sort();
  const wanted = [...oracle.eips.values()].map(({ address }) => `${address}`).sort();
  const faults: string[] = [];
  if (named.join() !== wanted.join()) faults.push(`the ledger names ${named.join()}, not ${wanted.join()}`);
  const leaving = [...retired].filter((address) => !oracle.ruled.has(address));
  if (leaving.length > 0 && player.kept().size === 0) faults.push(`${leaving.join()} are still retired`);
  return faults;
}
