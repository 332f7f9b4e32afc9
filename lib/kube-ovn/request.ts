/** What an operation asks for, before the stored set is looked at. */
import type { Facts } from "../kinds/facts.ts";
import type { SpecOf } from "../kinds/registry.ts";
import type { InterfaceAddress, Ip } from "../model/ip.ts";
import type { Kind, ObjectName } from "../model/names.ts";

/** The kinds whose objects an operation puts or removes as a whole. Eips are bound and unbound. */
export type RequestedKind = Exclude<Kind, "eip">;

export interface PutRequest<K extends RequestedKind> {
  readonly type: "put";
  readonly kind: K;
  readonly spec: SpecOf[K];
  /** The EIP that it uses. If nobody has added it yet, it comes along unbound. */
  readonly eip?: Ip;
  /** Why a stored object with other fields must not be replaced. Absent: it is replaced. */
  refusal?(stored: SpecOf[K]): string;
}

export interface RemoveRequest<K extends RequestedKind> {
  readonly type: "remove";
  readonly kind: K;
  readonly name: ObjectName;
  /** False: the stored object of that name is another one, and stays. Absent: it is the one. */
  isMeant?(stored: SpecOf[K]): boolean;
}

type ForEachKind<K extends RequestedKind> = K extends RequestedKind
  ? PutRequest<K> | RemoveRequest<K>
  : never;

export type ObjectRequest =
  | ForEachKind<RequestedKind>
  /** Holds the address. */
  | { readonly type: "bind"; readonly address: InterfaceAddress }
  /** Does not hold the address any more. Rules on it stay. */
  | { readonly type: "unbind"; readonly eip: Ip };

/** The gateway's interfaces as the settings, or an earlier `init`, have them. */
export type Devices = Pick<Facts, "vpcInterface" | "externalInterface">;

/** `init`: what is stored is an accepted set, even if it is empty. Without interfaces those of the settings are used. */
export interface InitRequest {
  readonly type: "init";
  readonly interfaces: Devices | undefined;
}

export interface ObjectsRequest {
  readonly type: "objects";
  /** In order. */
  readonly requests: readonly ObjectRequest[];
  /** True if it is allowed before `init`. */
  readonly isAllowedBeforeInit: boolean;
}

export type Request = InitRequest | ObjectsRequest;
