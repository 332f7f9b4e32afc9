/**
 * The one form in which a spec is stored, shown and compared: networks masked, absent optional fields left out,
 * keys in a fixed order. What a caller said explicitly stays, a default included.
 */

import type { Cidr } from "../model/ipv4.ts";
import { parseCidr } from "../model/ipv4.ts";
import { collectionOf, type Kind, kinds } from "../model/names.ts";
import type { Backend, FullSet, Gateway, Spec, SpecOf } from "../model/schema.ts";

/** A spec in canonical form; expects one that its schema has passed. */
export function canonicalSpec<K extends Kind>(kind: K, spec: SpecOf[K]): SpecOf[K] {
  return canonicalisers[kind](spec);
}

/** The full set with every spec in canonical form, in the order of the request: positions decide who is elder. */
export function canonicalFullSet(set: FullSet): FullSet & { readonly gateway: Gateway } {
  return {
    generation: set.generation,
    gateway: canonicalGateway(set.gateway ?? {}),
    eips: set.eips.map(canonicalisers.eip),
    fips: set.fips.map(canonicalisers.fip),
    snats: set.snats.map(canonicalisers.snat),
    dnats: set.dnats.map(canonicalisers.dnat),
    routes: set.routes.map(canonicalisers.route),
  };
}

/**
 * What a digest of a full set is taken of: its content without the generation, each kind sorted by name, so that
 * the same set in another order is the same content.
 *
 * @param set in canonical form, no name twice in one array.
 */
export function contentText(set: FullSet): string {
  const content: Record<string, unknown> = { gateway: set.gateway ?? {} };
  for (const kind of kinds) {
    const specs: readonly Spec[] = set[collectionOf(kind)];
    content[collectionOf(kind)] = specs.toSorted(byName);
  }
  return JSON.stringify(content);
}

/** True where two canonical specs of one kind say the same. */
export function isSameSpec(one: Spec, other: Spec): boolean {
  return isSameValue(one, other);
}

/** True where two gateways say the same. */
export function isSameGateway(one: Gateway, other: Gateway): boolean {
  return one.defaultGateway === other.defaultGateway;
}

const canonicalisers: { readonly [K in Kind]: (spec: SpecOf[K]) => SpecOf[K] } = {
  eip: (spec) => ({
    ...identity(spec),
    address: spec.address,
    ...(spec.interface === undefined ? {} : { interface: spec.interface }),
    ...(spec.leaseSeconds === undefined ? {} : { leaseSeconds: spec.leaseSeconds }),
  }),
  fip: (spec) => ({ ...identity(spec), eip: spec.eip, internalIp: spec.internalIp }),
  snat: (spec) => ({
    ...identity(spec),
    eip: spec.eip,
    internalCIDR: masked(spec.internalCIDR),
    ...(spec.mapping === undefined ? {} : { mapping: spec.mapping }),
  }),
  dnat: (spec) => ({
    ...identity(spec),
    eip: spec.eip,
    protocol: spec.protocol,
    externalPort: spec.externalPort,
    ...(spec.internalIp === undefined ? {} : { internalIp: spec.internalIp }),
    ...(spec.internalPort === undefined ? {} : { internalPort: spec.internalPort }),
    ...(spec.backends === undefined ? {} : { backends: spec.backends.map(canonicalBackend) }),
  }),
  route: (spec) => ({
    ...identity(spec),
    destination: masked(spec.destination),
    via: spec.via,
    ...(spec.interface === undefined ? {} : { interface: spec.interface }),
  }),
};

function identity(spec: Spec): Pick<Spec, "name" | "uid"> {
  return spec.uid === undefined ? { name: spec.name } : { name: spec.name, uid: spec.uid };
}

function canonicalBackend(backend: Backend): Backend {
  return { ip: backend.ip, port: backend.port };
}

function canonicalGateway(gateway: Gateway): Gateway {
  return gateway.defaultGateway === undefined ? {} : { defaultGateway: gateway.defaultGateway };
}

/** What crossed the wire as a network may have host bits still; the type says what the schema promised. */
function masked(cidr: Cidr): Cidr {
  const network = parseCidr(cidr);
  if (network === undefined) throw new TypeError(`not a network: ${cidr}`);
  return network;
}

function byName(one: Spec, other: Spec): number {
  return one.name < other.name ? -1 : one.name > other.name ? 1 : 0;
}

/** Structural equality of plain values; faster than comparing their texts by an order of magnitude. */
function isSameValue(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every(
      (key) => Object.hasOwn(other, key) && isSameValue(Reflect.get(one, key), Reflect.get(other, key)),
    )
  );
}
