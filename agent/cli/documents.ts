/** The documents of the API, as far as commands read them. */

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

export interface ObjectDocument {
  readonly kind: string;
  readonly name: string;
  readonly uid?: string;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly revision: number;
  readonly status: {
    readonly ready: boolean;
    readonly observedRevision: number;
    readonly epoch: string;
    readonly verifiedAt?: string;
    readonly conditions: readonly Condition[];
    readonly usedBy?: readonly string[];
  };
}

export interface ObjectList {
  readonly items: readonly ObjectDocument[];
  readonly revision?: number;
  /** Where a watch goes on without a gap. Absent from older agents. */
  readonly eventId?: string;
}

export interface Change {
  readonly action: "add" | "remove" | "replace" | "set";
  readonly subsystem: string;
  readonly object?: string;
  readonly text: string;
}

interface Tuple {
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
}

export interface Flow {
  readonly protocol: string;
  readonly original: Tuple;
  readonly reply: Tuple;
  readonly natStatus: string;
}

export interface FlowList {
  readonly total: number;
  readonly items: readonly Flow[];
}

export interface Preview {
  readonly changes: readonly Change[];
  readonly changesTotal: number;
  readonly flows: FlowList;
}

export interface PlanDocument {
  readonly changes: readonly Change[];
  readonly total: number;
  /** Of a fresh plan: live flows that no object permits. */
  readonly flows?: FlowList;
}

export interface PassReport {
  readonly startedAt: string;
  readonly took: number;
  readonly reasons: readonly string[];
  readonly observed: { readonly rules: number; readonly addresses: number; readonly routes: number };
  readonly changed: number;
  readonly changes: readonly Change[];
  readonly failed: readonly {
    readonly object?: string;
    readonly stage: string;
    readonly code: string;
    readonly message: string;
    readonly text?: string;
  }[];
  readonly flowsRemoved: number;
}

export interface InterfaceStatus {
  readonly name: string;
  readonly present: boolean;
  readonly up: boolean;
  readonly mac: string;
  readonly addresses: readonly string[];
}

export interface ObjectCounts {
  readonly total: number;
  readonly ready: number;
  readonly notReady: number;
}

export interface GatewayStatus {
  readonly version: string;
  readonly epoch: string;
  readonly degraded: readonly { readonly reason: string; readonly message: string }[];
  readonly generation: { readonly desired: number; readonly applied: number };
  readonly revision: { readonly desired: number; readonly applied: number };
  readonly objects: Readonly<Record<string, ObjectCounts>>;
  readonly lastReconcile: PassReport | null;
  readonly backend: string;
  readonly gate: string;
  readonly untranslated: string;
  readonly bfdGate: string;
  readonly interfaces: Readonly<Record<string, InterfaceStatus>>;
}

export interface InventoryDocument {
  readonly observed: boolean;
  readonly addresses: readonly {
    readonly ip: string;
    readonly role: string;
    readonly interface: string;
    readonly users: readonly string[];
  }[];
  readonly subnets: readonly {
    readonly cidr: string;
    readonly capacity: number;
    readonly used: number;
    readonly free: number;
  }[];
}

/** The desired set as `GET /v1/desired` has it. */
export interface DesiredSet {
  readonly generation: number;
  readonly gateway?: Readonly<Record<string, unknown>>;
  readonly [collection: string]: unknown;
}

export interface WriteDocument {
  readonly revision: number;
  readonly generation: number;
  readonly ready: number;
  readonly notReady: readonly ObjectDocument[];
  readonly notReadyTotal: number;
}

export interface ImportDocument {
  readonly set: DesiredSet;
  readonly unread: readonly { readonly what: string; readonly where: string; readonly why: string }[];
}
