/** Collects the objects of an import. */
import type { SpecLists } from "../admission/requests.ts";
import { type Chunked, everyNth } from "../chunked.ts";
import { recordOf, type Spec, type SpecOf } from "../kinds/registry.ts";
import { eipName } from "../kube-ovn/names.ts";
import { type Ip, makeInterfaceAddress } from "../model/ip.ts";
import type { LedgerAddress } from "../model/ledger.ts";
import type { InterfaceName, Kind } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { EipPlaces } from "./network.ts";
import type { Source, Unread } from "./read-rules.ts";

/** In canonical form. Of two objects of a kind the elder comes first. */
export interface ImportedSet extends Required<SpecLists> {
  readonly gateway: Gateway;
}

/** Where an EIP that is not held would be. Not sure: no rule names the interface. */
interface Unbound {
  readonly place: LedgerAddress;
  readonly isSure: boolean;
}

/** Takes a few milliseconds. */
const madeAtOnce = 2_000;

/** The objects found so far, each identity once. */
export class SetDraft {
  readonly unread: Unread[] = [];
  readonly #objects = {
    fip: new Map<string, SpecOf["fip"]>(),
    snat: new Map<string, SpecOf["snat"]>(),
    dnat: new Map<string, SpecOf["dnat"]>(),
    limit: new Map<string, SpecOf["limit"]>(),
    route: new Map<string, SpecOf["route"]>(),
  };
  readonly #places: EipPlaces;
  readonly #own: ReadonlySet<Ip>;
  /** EIPs that rules have and that are not held. */
  readonly #unbound = new Map<Ip, Unbound>();

  constructor(places: EipPlaces, own: ReadonlySet<Ip>) {
    this.#places = places;
    this.#own = own;
  }

  /**
   * Adds an object, unless it cannot be one.
   * @param eip the EIP that it uses
   * @param on the outgoing interface, if its rules name one
   */
  add<K extends Exclude<Kind, "eip">>(
    kind: K,
    spec: SpecOf[K],
    eip: Ip | undefined,
    source: Source,
    on?: InterfaceName,
  ): void {
    const objects = this.#objects[kind] as Map<string, Spec>;
    const why =
      (eip === undefined ? undefined : this.#obstacleTo(eip, on)) ??
      recordOf(kind).issues(spec)[0]?.message ??
      (objects.has(spec.name) ? `an earlier one is ${spec.name}` : undefined);
    if (why === undefined) objects.set(spec.name, recordOf(kind).canonical(spec));
    else this.unread.push({ ...source, why });
  }

  /** Rules use the EIP. */
  use(eip: Ip, on?: InterfaceName): void {
    if (this.#own.has(eip) || this.#places.has(eip)) return;
    const isSure = on !== undefined;
    const known = this.#unbound.get(eip);
    if (known !== undefined && (known.isSure || !isSure)) return;
    this.#unbound.set(eip, { place: this.#places.placeFor(eip, on), isSure });
  }

  *finish(gateway: Gateway, externalInterface: InterfaceName): Chunked<ImportedSet> {
    const eips: SpecOf["eip"][] = [];
    const isDue = everyNth(madeAtOnce);
    const add = ({ address, prefixLength, interface: name }: LedgerAddress, isBound: boolean) => {
      const spec = {
        name: eipName(address),
        address: makeInterfaceAddress(address, prefixLength),
        ...(name !== externalInterface && { interface: name }),
        ...(!isBound && { bound: false }),
      };
      const [issue] = recordOf("eip").issues(spec);
      if (issue === undefined) eips.push(recordOf("eip").canonical(spec));
      else this.unread.push({ what: spec.address, where: `addresses of ${name}`, why: issue.message });
    };
    for (const place of this.#places.held) {
      if (isDue()) yield;
      add(place, true);
    }
    for (const { place } of this.#unbound.values()) add(place, false);
    const { fip, snat, dnat, limit, route } = this.#objects;
    return {
      gateway,
      eips,
      fips: [...fip.values()],
      snats: [...snat.values()],
      dnats: [...dnat.values()],
      limits: [...limit.values()],
      routes: [...route.values()],
    };
  }

  #obstacleTo(eip: Ip, on: InterfaceName | undefined): string | undefined {
    if (this.#own.has(eip)) return `${eip} is the gateway's own address`;
    this.use(eip, on);
    const at = this.#unbound.get(eip)?.place.interface ?? this.#places.interfaceOf(eip);
    return on === undefined || on === at ? undefined : `${eip} belongs to ${at}, not to ${on}`;
  }
}
