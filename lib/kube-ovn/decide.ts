/** From what an operation asks for and what is stored to the writes that are needed. */

import { isSameSpec } from "../admission/canonical.ts";
import type { Batch, SpecLists } from "../admission/requests.ts";
import type { Chunked } from "../chunked.ts";
import { usersOfChunked } from "../compile/references.ts";
import { recordOf, type Spec, type SpecOf } from "../kinds/registry.ts";
import { familyOf } from "../model/families.ts";
import { addressOf, type InterfaceAddress, type Ip, makeInterfaceAddress } from "../model/ip.ts";
import {
  collectionOf,
  type Kind,
  kinds,
  type ObjectId,
  type ObjectName,
  objectId,
  parseObjectId,
} from "../model/names.ts";
import { type Desired, objectsOf } from "../state/desired.ts";
import { eipName } from "./names.ts";
import type { ObjectRequest, PutRequest, RemoveRequest, RequestedKind } from "./request.ts";

export interface Writes {
  /** Empty if nothing has to be written. */
  readonly batch: Batch;
  /** Objects that must be Programmed when the call returns, whether or not they had to be written. */
  readonly programmed: readonly ObjectId[];
  /** Objects that must be out of the kernel. An Eip that is only unbound, too. */
  readonly gone: readonly ObjectId[];
}

export type Decided = Writes | { readonly conflict: string };

/** Decides on all requests of a call together. If one is in conflict, nothing is written. */
export function* decideChunked(desired: Desired, requests: readonly ObjectRequest[]): Chunked<Decided> {
  const draft = new Draft(desired);
  for (const request of requests) {
    const conflict = draft.apply(request);
    if (conflict !== undefined) return { conflict };
  }
  return yield* draft.finish();
}

type Specs = { readonly [K in Kind]: Map<ObjectName, SpecOf[K] | undefined> };

/** The stored set with the requests so far. */
class Draft {
  readonly #desired: Desired;
  /** What differs from the stored set; `undefined`: removed. */
  readonly #specs: Specs = {
    eip: new Map(),
    fip: new Map(),
    snat: new Map(),
    dnat: new Map(),
    limit: new Map(),
    route: new Map(),
  };
  readonly #programmed = new Set<ObjectId>();
  readonly #gone = new Set<ObjectId>();
  /** Eips that are removed if nothing uses them in the end. */
  readonly #loose = new Set<ObjectName>();

  constructor(desired: Desired) {
    this.#desired = desired;
  }

  /** @returns the conflict, if there is one */
  apply(request: ObjectRequest): string | undefined {
    switch (request.type) {
      case "bind":
        return this.#bind(request.address);
      case "unbind":
        return this.#unbind(request.eip);
      case "put":
        return this.#put(request);
      case "remove":
        return this.#remove(request);
    }
  }

  /** Removes unbound Eips that nothing uses. */
  *finish(): Chunked<Writes> {
    const eips = new Set([...this.#loose].filter((name) => this.#get("eip", name)?.bound === false));
    const used = yield* this.#usedAmong(eips);
    for (const name of eips.difference(used)) this.#set("eip", name, undefined);
    return { batch: this.#batch(), programmed: [...this.#programmed], gone: [...this.#gone] };
  }

  #bind(address: InterfaceAddress): undefined {
    const name = eipName(addressOf(address));
    const { bound: _, ...stored } = this.#get("eip", name) ?? { name };
    this.#set("eip", name, { ...stored, address });
    this.#expect("eip", name);
  }

  #unbind(eip: Ip): undefined {
    const name = eipName(eip);
    const stored = this.#get("eip", name);
    if (stored === undefined) return;
    this.#set("eip", name, { ...stored, bound: false });
    this.#loose.add(name);
    this.#expectGone("eip", name);
  }

  #put<K extends RequestedKind>({ kind, spec, eip, refusal }: PutRequest<K>): string | undefined {
    const stored = this.#get(kind, spec.name);
    if (stored !== undefined && refusal !== undefined && !isSameSpec(stored, withUid(stored, spec)))
      return refusal(stored);
    if (eip !== undefined) this.#bring(eip);
    this.#set(kind, spec.name, spec);
    this.#expect(kind, spec.name);
    return undefined;
  }

  #remove<K extends RequestedKind>({ kind, name, isMeant }: RemoveRequest<K>): undefined {
    const stored = this.#get(kind, name);
    if (stored === undefined || isMeant?.(stored) === false) return;
    this.#set(kind, name, undefined);
    this.#expectGone(kind, name);
    const eip = recordOf(kind).eipOf?.(stored);
    if (eip !== undefined) this.#loose.add(eip);
  }

  /** An Eip that nobody added yet: rules on it are programmed, its address is not held. */
  #bring(eip: Ip): void {
    const name = eipName(eip);
    if (this.#get("eip", name) !== undefined) return;
    const address = makeInterfaceAddress(eip, familyOf(eip).bits);
    this.#set("eip", name, { name, address, bound: false });
  }

  *#usedAmong(eips: ReadonlySet<ObjectName>): Chunked<ReadonlySet<ObjectName>> {
    const used = new Set<ObjectName>();
    for (const id of yield* usersOfChunked(this.#desired, eips)) this.#use(id, used);
    for (const kind of kinds)
      for (const name of this.#specs[kind].keys()) this.#use(objectId(kind, name), used);
    return used;
  }

  /** Adds the Eip that an object uses now. */
  #use(id: ObjectId, used: Set<ObjectName>): void {
    const { kind, name } = parseObjectId(id);
    const eip = this.#eipOf(kind, name);
    if (eip !== undefined) used.add(eip);
  }

  #eipOf<K extends Kind>(kind: K, name: ObjectName): ObjectName | undefined {
    const spec = this.#get(kind, name);
    return spec && recordOf(kind).eipOf?.(spec);
  }

  #get<K extends Kind>(kind: K, name: ObjectName): SpecOf[K] | undefined {
    const specs: Map<ObjectName, SpecOf[K] | undefined> = this.#specs[kind];
    return specs.has(name) ? specs.get(name) : objectsOf(this.#desired, kind).get(name)?.spec;
  }

  #set<K extends Kind>(kind: K, name: ObjectName, spec: SpecOf[K] | undefined): void {
    const specs: Map<ObjectName, SpecOf[K] | undefined> = this.#specs[kind];
    specs.set(name, spec);
  }

  #expect(kind: Kind, name: ObjectName): void {
    this.#programmed.add(objectId(kind, name));
    this.#gone.delete(objectId(kind, name));
  }

  #expectGone(kind: Kind, name: ObjectName): void {
    this.#gone.add(objectId(kind, name));
    this.#programmed.delete(objectId(kind, name));
  }

  #batch(): Batch {
    const upsert: Record<string, unknown> = {};
    const remove: Record<string, ObjectName[]> = {};
    for (const kind of kinds) {
      const specs = [...this.#specs[kind]];
      upsert[collectionOf(kind)] = specs.flatMap(([, spec]) => spec ?? []);
      remove[collectionOf(kind)] = specs.flatMap(([name, spec]) => (spec === undefined ? [name] : []));
    }
    return { upsert: upsert as SpecLists, delete: remove };
  }
}

/** The controller has no uids and changes none. */
function withUid<S extends Spec>({ uid }: S, spec: S): S {
  return uid === undefined ? spec : { ...spec, uid };
}
