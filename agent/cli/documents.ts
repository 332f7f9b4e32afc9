/** The documents of the API under the names of this folder. Their types come from the OpenAPI document. */
import type { Schema } from "../client/types.ts";

export type { ObjectDocument, ObjectList } from "../client/types.ts";

export type Condition = Schema<"Condition">;
export type Change = Schema<"Change">;
export type Flow = Schema<"Flow">;
export type FlowList = Schema<"Flows">;
export type Preview = Schema<"Preview">;
export type PlanDocument = Schema<"Plan">;
export type PassReport = Schema<"PassReport">;
export type InterfaceStatus = Schema<"InterfaceStatus">;
export type ObjectCounts = Schema<"ObjectCounts">;
export type GatewayStatus = Schema<"GatewayStatus">;
export type Ports = Schema<"Ports">;
export type TopFlows = Schema<"TopFlows">;
export type Explanation = Schema<"Explanation">;
export type Doctor = Schema<"Doctor">;
export type Who = Schema<"Who">;
export type Audit = Schema<"Audit">;
export type InventoryDocument = Schema<"Inventory">;
export type WriteDocument = Schema<"Written">;

/** The desired set as `GET /v1/desired` has it, with the collections of a newer agent. */
export interface DesiredSet {
  readonly generation: number;
  readonly gateway?: Readonly<Record<string, unknown>>;
  readonly [collection: string]: unknown;
}

export type ImportDocument = Omit<Schema<"ImportedState">, "set"> & { readonly set: DesiredSet };
