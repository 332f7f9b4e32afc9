/**
 * From what is desired to what is to be programmed: clashes decided, references resolved, leases and conflicts taken
 * out. Pure and linear; runs in every pass.
 */

import type { Ipv4 } from "../model/ipv4.ts";
import { type InterfaceName, type Kind, type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import type { Program, ProgramDnat, ProgramEip, ProgramFip, ProgramRoute } from "../model/program.ts";
import type { Backend, Dnat, Spec } from "../model/schema.ts";
import type { Reason } from "../model/status.ts";
import type { Stored } from "../model/stored.ts";
import type { Desired } from "../state/desired.ts";
import { type Clash, type Facts, findClashes } from "./clashes.ts";
import { type ParsedEip, parsedEips } from "./parsed-eips.ts";
import { usersByEip } from "./references.ts";
import { type Leaving, poolSnats } from "./snat-pools.ts";

export interface CompileContext extends Facts {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** Eips whose lease ran out. */
  readonly expiredLeases: ReadonlySet<ObjectName>;
  /** The MAC that answered for an address, where the address is not held by this gateway already. */
  readonly addressConflicts: ReadonlyMap<Ipv4, string>;
  /** Addresses about which the wire is being asked: the answer decides, and wakes another pass. */
  readonly probing?: ReadonlySet<Ipv4>;
  /** Objects that the kernel refused, with its words. */
  readonly quarantined: ReadonlyMap<ObjectId, string>;
  /** Interfaces that are not in this namespace. */
  readonly missingInterfaces: ReadonlySet<InterfaceName>;
}

export interface Compiled {
  readonly program: Program;
  /** What stays out of the program, and why. */
  readonly blocked: ReadonlyMap<ObjectId, Block>;
  /** Objects that are in order without a rule of their own: Ready once their Eip is. */
  readonly idle: ReadonlyMap<ObjectId, Idle>;
  /** The stored users of each Eip's name, clashing ones too: FIPs, SNATs, DNATs, each by creation. */
  readonly usedBy: ReadonlyMap<ObjectName, readonly ObjectId[]>;
}

/**
 * Why an object is not programmed. `Pending`: the next pass will know more. Any other reason: no pass will change that
 * before something else does, and who waits is answered.
 */
export interface Block {
  /** False for a clash alone: all else is accepted and waits for the world to change. */
  readonly isAccepted: boolean;
  readonly reason: Reason;
  readonly message: string;
}

export interface Idle {
  readonly reason: "Standby" | "NoBackends";
  readonly message: string;
}

/** Every stored object comes out in exactly one place: in the program, blocked, or idle. */
export function compile(desired: Desired, context: CompileContext): Compiled {
  // Asked for by few, and as dear as all the rest.
  let users: Compiled["usedBy"] | undefined;
  const work: Work = {
    context,
    clashes: findClashes(desired, context),
    blocked: new Map(),
    idle: new Map(),
    eips: new Map(),
  };
  for (const parsed of parsedEips(desired.eips)) {
    const eip = programEip(parsed, work);
    if (eip !== undefined) work.eips.set(parsed.spec.name, eip);
  }
  return {
    program: {
      vpcInterface: context.vpcInterface,
      externalInterface: context.externalInterface,
      defaultGateway: desired.gateway.defaultGateway ?? context.fallbackGateway,
      eips: [...work.eips.values()],
      fips: programFips(desired, work),
      dnats: programDnats(desired, work),
      pools: programPools(desired, work),
      routes: programRoutes(desired, work),
    },
    blocked: work.blocked,
    idle: work.idle,
    get usedBy() {
      users ??= usersByEip(desired);
      return users;
    },
  };
}

interface Work {
  readonly context: CompileContext;
  readonly clashes: ReadonlyMap<ObjectId, Clash>;
  readonly blocked: Map<ObjectId, Block>;
  readonly idle: Map<ObjectId, Idle>;
  /** The Eips that are programmed, by name, in order of creation. */
  readonly eips: Map<ObjectName, ProgramEip>;
}

function programEip({ id, spec, address, prefixLength }: ParsedEip, work: Work): ProgramEip | undefined {
  const { context } = work;
  const onLink = spec.interface ?? context.externalInterface;
  const mac = context.addressConflicts.get(address);
  const block =
    clashOf(id, work) ??
    (context.expiredLeases.has(spec.name) ? expired(spec.name) : undefined) ??
    missingInterface(onLink, context) ??
    (mac === undefined ? undefined : accepted("AddressConflict", `${mac} answers for ${address}`)) ??
    (context.probing?.has(address)
      ? accepted("Pending", `asking whether anyone holds ${address}`)
      : undefined) ??
    quarantineOf(id, work);
  if (block === undefined) return { id, address, prefixLength, interface: onLink };
  work.blocked.set(id, block);
  return undefined;
}

function programFips(desired: Desired, work: Work): readonly ProgramFip[] {
  const fips: ProgramFip[] = [];
  const outward = new Set<Ipv4>();
  for (const { id, spec, eip } of programmable("fip", desired.fips, desired, work)) {
    fips.push({
      id,
      eip: eip.address,
      internalIp: spec.internalIp,
      isOutward: !outward.has(spec.internalIp),
    });
    outward.add(spec.internalIp);
  }
  return fips;
}

function programDnats(desired: Desired, work: Work): readonly ProgramDnat[] {
  const dnats: ProgramDnat[] = [];
  for (const { id, spec, eip } of programmable("dnat", desired.dnats, desired, work)) {
    const [first, ...others] = backendsOf(spec);
    const { protocol, externalPort } = spec;
    if (first === undefined) work.idle.set(id, { reason: "NoBackends", message: "no backends, no rule" });
    else dnats.push({ id, eip: eip.address, protocol, externalPort, backends: [first, ...others] });
  }
  return dnats;
}

function programPools(desired: Desired, work: Work): Program["pools"] {
  const leaving: Leaving[] = [];
  for (const { id, spec, eip } of programmable("snat", desired.snats, desired, work))
    leaving.push({ id, cidr: spec.internalCIDR, eip, mapping: spec.mapping ?? "random" });
  const { pools, standby } = poolSnats(leaving);
  for (const [id, elder] of standby)
    work.idle.set(id, { reason: "Standby", message: `stands by for ${elder}` });
  return pools;
}

function programRoutes(desired: Desired, work: Work): readonly ProgramRoute[] {
  const { context } = work;
  const routes: ProgramRoute[] = [];
  for (const { spec } of desired.routes.values()) {
    const id = objectId("route", spec.name);
    const onLink = spec.interface === "external" ? context.externalInterface : context.vpcInterface;
    const block = clashOf(id, work) ?? missingInterface(onLink, context) ?? quarantineOf(id, work);
    if (block !== undefined) work.blocked.set(id, block);
    else routes.push({ id, destination: spec.destination, via: spec.via, interface: onLink });
  }
  return routes;
}

/** The users of one kind whose Eip is programmed and that nothing else keeps out; the others are blocked. */
function* programmable<S extends Spec & { readonly eip: ObjectName }>(
  kind: Kind,
  objects: ReadonlyMap<ObjectName, Stored<S>>,
  desired: Desired,
  work: Work,
): Generator<{ readonly id: ObjectId; readonly spec: S; readonly eip: ProgramEip }> {
  for (const { spec } of objects.values()) {
    const id = objectId(kind, spec.name);
    const eip = work.eips.get(spec.eip);
    const block = clashOf(id, work) ?? (eip ? quarantineOf(id, work) : eipBlock(spec.eip, desired, work));
    if (block !== undefined) work.blocked.set(id, block);
    else if (eip !== undefined) yield { id, spec, eip };
  }
}

/** What keeps the users of an Eip out that is not programmed. */
function eipBlock(name: ObjectName, desired: Desired, work: Work): Block {
  if (!desired.eips.has(name)) return accepted("EipNotFound", `eip ${name} does not exist`);
  const block = work.blocked.get(objectId("eip", name));
  if (block?.reason === "LeaseExpired" || block?.reason === "Pending") return block;
  return accepted("EipNotReady", `eip ${name} is not programmed: ${block?.message}`);
}

function clashOf(id: ObjectId, work: Work): Block | undefined {
  if (work.clashes.size === 0) return undefined;
  const clash = work.clashes.get(id);
  return clash && { isAccepted: false, reason: "Conflict", message: clash.message };
}

function quarantineOf(id: ObjectId, { context }: Work): Block | undefined {
  if (context.quarantined.size === 0) return undefined;
  const error = context.quarantined.get(id);
  return error === undefined ? undefined : accepted("Quarantined", error);
}

function missingInterface(name: InterfaceName, context: CompileContext): Block | undefined {
  if (!context.missingInterfaces.has(name)) return undefined;
  return accepted("InterfaceNotFound", `there is no interface ${name}`);
}

function expired(eip: ObjectName): Block {
  return accepted("LeaseExpired", `the lease of eip ${eip} was not renewed in time`);
}

function accepted(reason: Reason, message: string): Block {
  return { isAccepted: true, reason, message };
}

function backendsOf(spec: Dnat): readonly Backend[] {
  if (spec.backends !== undefined) return spec.backends;
  if (spec.internalIp === undefined || spec.internalPort === undefined) return [];
  return [{ ip: spec.internalIp, port: spec.internalPort }];
}
