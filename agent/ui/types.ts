/** What the page reads of the API's answers. Fields that an older agent does not have are optional. */

export const collections = ["eips", "fips", "snats", "dnats", "limits", "routes"] as const;
export type Collection = (typeof collections)[number];

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

export interface GatewayObject {
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
  };
}

/** `"fips/fip-a"` */
export type ObjectId = `${Collection}/${string}`;

export interface Change {
  readonly action: string;
  readonly subsystem: string;
  readonly object?: string;
  readonly text: string;
}

export interface Pass {
  readonly startedAt: string;
  readonly took: number;
  readonly reasons: readonly string[];
  readonly observed: { readonly rules: number; readonly addresses: number; readonly routes: number };
  readonly changed: number;
  readonly changes: readonly Change[];
  readonly failed: readonly { readonly stage: string; readonly message: string }[];
  readonly flowsRemoved: number;
}

export interface Interface {
  readonly name: string;
  readonly present: boolean;
  readonly up: boolean;
  readonly mac: string;
  readonly addresses: readonly string[];
}

export interface GatewayStatus {
  readonly version: string;
  readonly epoch: string;
  readonly degraded: readonly { readonly reason: string; readonly message: string }[];
  readonly generation: { readonly desired: number; readonly applied: number };
  readonly revision: { readonly desired: number; readonly applied: number };
  readonly objects: Readonly<
    Record<string, { readonly total: number; readonly ready: number; readonly notReady: number }>
  >;
  readonly lastReconcile: Pass | null;
  readonly backend: string;
  readonly gate: string;
  readonly untranslated: string;
  readonly bfdGate: string;
  readonly interfaces: Readonly<Record<string, Interface>>;
}

export interface List {
  readonly items: readonly GatewayObject[];
  /** The last event that the list knows. */
  readonly eventId?: string;
}

export interface Flow {
  readonly protocol: string;
  readonly original: Tuple;
  readonly reply: Tuple;
  readonly natStatus: string;
}

export interface Tuple {
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
}

export interface Ports {
  readonly capacity: number;
  readonly headroom: number;
  readonly destinations: readonly {
    readonly dst: string;
    readonly dport: number;
    readonly protocol: string;
    readonly live: number;
    readonly closing: number;
    readonly ratio: number;
    readonly secondsToFull: number | null;
    readonly additionalEipsNeeded: number;
    readonly topClients: readonly { readonly ip: string; readonly ports: number; readonly share: number }[];
  }[];
}

/** The collection of a kind as documents name it: `"Fip"`. */
export function collectionOf(kind: string): Collection | undefined {
  return collections.find((collection) => collection === `${kind.toLowerCase()}s`);
}

export function idOf({ kind, name }: { readonly kind: string; readonly name: string }): ObjectId | undefined {
  const collection = collectionOf(kind);
  return collection === undefined ? undefined : `${collection}/${name}`;
}
