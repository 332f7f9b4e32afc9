/** The documents of the API under the names of this folder. Their types come from the OpenAPI document. */
import type { Schema } from "../client/client.ts";

export type Condition = Schema<"Condition">;
/** Of any kind, also of one that only a newer agent knows. */
export type ObjectDocument = Omit<Schema<"AnyObject">, "kind" | "spec"> & {
  readonly kind: string;
  readonly spec: Readonly<Record<string, unknown>>;
};
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

/** A list of any kind. */
export interface ObjectList {
  readonly items: readonly ObjectDocument[];
  readonly revision?: number;
  /** Where a watch goes on without a gap. Absent from older agents. */
  readonly eventId?: string;
}

/** The desired set as `GET /v1/desired` has it, with the collections of a newer agent. */
export interface DesiredSet {
  readonly generation: number;
  readonly gateway?: Readonly<Record<string, unknown>>;
  readonly [collection: string]: unknown;
}

export type ImportDocument = Omit<Schema<"ImportedState">, "set"> & { readonly set: DesiredSet };
