/** What the page reads of the API's answers. Their types come from the OpenAPI document. */
import type { Schema } from "../client/types.ts";

export type { ObjectDocument as GatewayObject, ObjectList as List } from "../client/types.ts";

export const collections = ["eips", "fips", "snats", "dnats", "limits", "routes"] as const;
export type Collection = (typeof collections)[number];

export type Condition = Schema<"Condition">;
export type Change = Schema<"Change">;
export type Pass = Schema<"PassReport">;
export type Interface = Schema<"InterfaceStatus">;
export type GatewayStatus = Schema<"GatewayStatus">;
export type Flow = Schema<"Flow">;
export type Tuple = Schema<"FlowTuple">;
export type Ports = Schema<"Ports">;

/** `"fips/fip-a"` */
export type ObjectId = `${Collection}/${string}`;

/** The collection of a kind as documents name it: `"Fip"`. */
export function collectionOf(kind: string): Collection | undefined {
  return collections.find((collection) => collection === `${kind.toLowerCase()}s`);
}

export function idOf({ kind, name }: { readonly kind: string; readonly name: string }): ObjectId | undefined {
  const collection = collectionOf(kind);
  return collection === undefined ? undefined : `${collection}/${name}`;
}
