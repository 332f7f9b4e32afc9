/** Reads the table `ip natgw` as objects: the inverse of lib/plan/nftables/layout.ts. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { AddressValue, Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { Backend } from "../model/schema.ts";
import { drawOf } from "../nftables/definition.ts";
import { tableLabel } from "../nftables/family.ts";
import { type MapName, tableName } from "../nftables/maps.ts";
import type { ObservedTable } from "../plan/nftables/compare.ts";
import type { NftablesObserved } from "../plan/nftables/observed.ts";
import { parseBackend, parseService } from "./backends.ts";
import { groupChunked, serviceText } from "./groups.ts";
import { clientsOf } from "./guard.ts";
import { type ReadRange, readRanges } from "./ranges.ts";
import type { FipHalf, Member, ReadContext, ReadDnat, ReadRules, Source, Unread } from "./read-rules.ts";

/** Takes a few milliseconds. */
const readAtOnce = 2_000;

export function* readNftables(
  { table, filterTables }: NftablesObserved,
  context: ReadContext,
): Chunked<ReadRules> {
  const { family } = context;
  const unread: Unread[] = [];
  const isDue = everyNth(readAtOnce);
  function* read<T>(
    map: MapName,
    parse: (key: string, value: string) => T | undefined,
    why: string,
  ): Chunked<(T & { source: Source })[]> {
    const found: (T & { source: Source })[] = [];
    for (const [key, value] of table.elements[map]) {
      if (isDue()) yield;
      const source = sourceOf(map, key, value);
      const read = parse(key, value);
      if (read === undefined) unread.push({ ...source, why });
      else found.push({ ...read, source });
    }
    return found;
  }
  const half = (eip: string, internalIp: string) => halfOf(family.parse(eip), family.parse(internalIp));
  const inward = yield* read("fip_in", half, "not an EIP and an internal IP");
  const outward = yield* read("fip_out", (key, value) => half(value, key), "not an internal IP and an EIP");
  const ones = yield* read(
    "dnat_1",
    (key, value) => serviceOf(key, value, family),
    "not a service and a backend",
  );
  const draws = yield* read(
    "dnat_n",
    (key, value) => drawnOf(key, value, family),
    "not a service, a draw and a backend",
  );
  const hairpins = yield* read(
    "hairpin",
    (key, value) => halfOf(family.parse(key), family.parse(value)),
    "not an EIP",
  );
  const dnats = ones.map(
    ({ backend, ...dnat }): ReadDnat => ({ ...dnat, backends: [backend], isList: false }),
  );
  const snats = yield* readRanges(
    yield* rangesOf(table, context, unread),
    yield* clientsOf(filterTables.elements, family),
    family,
  );
  return {
    inward,
    outward,
    dnats: [...dnats, ...(yield* drawnDnats(draws, unread))],
    pools: snats.pools,
    hairpins: new Set(hairpins.map(({ eip }) => eip)),
    unread: [...unread, ...snats.unread],
    isAgents: table.definition !== undefined || filterTables.definitions.guard !== undefined,
  };
}

function sourceOf(map: MapName, key: string, value: string): Source {
  return { what: `${key} : ${value}`, where: `${tableLabel(tableName)} map ${map}` };
}

function halfOf(eip: Ip | undefined, internalIp: Ip | undefined): Omit<FipHalf, "source"> | undefined {
  return eip === undefined || internalIp === undefined ? undefined : { eip, internalIp };
}

function serviceOf(key: string, value: string, family: Family) {
  const service = parseService(key, family);
  const backend = parseBackend(value, family);
  return service === undefined || backend === undefined ? undefined : { ...service, backend };
}

interface Drawn extends NonNullable<ReturnType<typeof serviceOf>> {
  readonly draw: number;
  readonly source: Source;
}

function drawnOf(key: string, value: string, family: Family): Omit<Drawn, "source"> | undefined {
  const service = serviceOf(key, value, family);
  const draw = Number(key.slice(key.lastIndexOf(" ") + 1));
  return service === undefined || !Number.isInteger(draw) ? undefined : { ...service, draw };
}

/** A DNAT has as many draws as backends, from 0. */
function* drawnDnats(draws: readonly Drawn[], unread: Unread[]): Chunked<readonly ReadDnat[]> {
  const dnats: ReadDnat[] = [];
  const isDue = everyNth(readAtOnce);
  const services = yield* groupChunked(draws, serviceText);
  for (const all of services.values()) {
    if (isDue()) yield;
    const inOrder = all.toSorted((one, other) => one.draw - other.draw);
    const [first, ...others] = inOrder.map(({ backend }): Backend => backend);
    const { eip, protocol, externalPort, source } = all[0];
    const isSticky = [false, true].find((sticky) =>
      inOrder.every(({ draw }, at) => draw === drawOf(all.length, at, sticky)),
    );
    if (first !== undefined && isSticky !== undefined)
      dnats.push({
        eip,
        protocol,
        externalPort,
        backends: [first, ...others],
        isList: true,
        isSticky,
        source,
      });
    else
      for (const { source: one } of all)
        unread.push({ ...one, why: "the draws of this service are not 0, 1 and so on" });
  }
  return dnats;
}

/** The elements of one range of clients, by bucket. */
interface Clients {
  readonly first: AddressValue;
  readonly last: AddressValue;
  readonly buckets: Map<number, Member>;
  /** The member that has all buckets, if one has. */
  whole: Member | undefined;
  readonly source: Source;
}

function* rangesOf(
  { elements }: ObservedTable,
  { family, interfaceOf }: ReadContext,
  unread: Unread[],
): Chunked<readonly ReadRange[]> {
  const all = new Map<string, Clients>();
  const isDue = everyNth(readAtOnce);
  for (const [map, mapping] of [
    ["snat_r", "random"],
    ["snat_p", "preserve"],
  ] as const)
    for (const [key, value] of elements[map]) {
      if (isDue()) yield;
      const source = sourceOf(map, key, value);
      const [text = "", where = ""] = key.split(" . ");
      const clients = rangeOf(text, family);
      const buckets = rangeOf(where, family);
      const eip = family.parse(value);
      if (clients === undefined || buckets === undefined || eip === undefined) {
        unread.push({ ...source, why: "not clients, buckets and an EIP" });
        continue;
      }
      const bucket = family.modulo(buckets[0], bucketsOfLookup);
      const lookup = family.format(family.plus(buckets[0], -bucket));
      const id = `${text} ${lookup}`;
      const [first, last] = clients;
      const found = all.get(id) ?? {
        first,
        last,
        buckets: new Map<number, Member>(),
        whole: undefined,
        source,
      };
      all.set(id, found);
      const member: Member = { eip, mapping };
      if (buckets[0] === buckets[1]) found.buckets.set(bucket, member);
      else found.whole = member;
    }
  const ranges: ReadRange[] = [];
  for (const { buckets, whole, source, ...clients } of all.values()) {
    if (isDue()) yield;
    const list = whole === undefined ? Array.from(buckets.keys(), (_, at) => buckets.get(at)) : [whole];
    const [head, ...rest] = list.filter((member) => member !== undefined);
    const isOnePool = whole === undefined ? rest.length + 1 === buckets.size : buckets.size === 0;
    if (head !== undefined && isOnePool)
      ranges.push({ ...clients, interface: interfaceOf(head.eip), buckets: [head, ...rest], source });
    else unread.push({ ...source, why: "its buckets are not those of a pool" });
  }
  return ranges;
}

/** Buckets are numbered within a lookup (lib/nftables/definition.ts). */
const bucketsOfLookup = 65_536;

/** `10.0.1.5` or `10.0.1.0-10.0.1.255`. */
function rangeOf(
  text: string,
  { parse, toValue }: Family,
): readonly [first: AddressValue, last: AddressValue] | undefined {
  const [from = "", to = from] = text.split("-");
  const [first, last] = [parse(from), parse(to)];
  return first === undefined || last === undefined ? undefined : [toValue(first), toValue(last)];
}
