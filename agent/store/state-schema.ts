/** JSON schemas of the stored state and its changes. Maps are stored as arrays, in their order. */

import { type Static, type TObject, type TSchema, Type } from "typebox";
import type { Spec } from "../../lib/kinds/registry.ts";
import { families } from "../../lib/model/families.ts";
import { interfaceNamePattern, type Kind } from "../../lib/model/names.ts";
import { GatewaySchema, IpSchema, ObjectNameSchema } from "../../lib/model/schema.ts";
import type { Stored } from "../../lib/model/stored.ts";

const closed = { additionalProperties: false } as const;
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const InstantSchema = Type.Object(
  { bootId: Type.String(), bootMs: Type.Number(), wallMs: Type.Number() },
  closed,
);

const prefixed = families.map((family) => family.cidrPattern.slice(1)).join("|");

/** A ledger key, such as `"net1 203.0.113.10/24"`. A third of the length of an object; a ledger has thousands. */
const LedgerKeySchema = Type.String({
  pattern: `${interfaceNamePattern.slice(0, -1)} (?:${prefixed})`,
});

/** A stored object of any kind. */
export const storedSchema = (spec: TObject): TObject =>
  Type.Object({ spec, revision: Count, creation: Count }, closed);

/** The snapshot's members that are single values. */
export const HeadSchema = Type.Object(
  { isSet: Type.Boolean(), revision: Count, generation: Count, nextCreation: Count },
  closed,
);
const FullSetMark = { generation: Count, digest: Type.String() };
export const FullSetMarkSchema = Type.Object(FullSetMark, closed);
const Tombstone = { key: Type.String(), untilMs: Type.Number() };
export const TombstoneSchema = Type.Object(Tombstone, closed);
const Lease = { name: ObjectNameSchema, renewed: InstantSchema };
export const LeaseSchema = Type.Object(Lease, closed);
export const LedgerSchema = Type.Object(
  { epoch: Type.String(), addresses: Type.Array(LedgerKeySchema), retired: Type.Array(IpSchema) },
  closed,
);

const change = <const T extends string, P extends Record<string, TSchema>>(type: T, properties: P) =>
  Type.Object({ type: Type.Literal(type), ...properties }, closed);

export const putSchema = (kind: Kind, spec: TObject): TObject =>
  change("put", { kind: Type.Literal(kind), object: storedSchema(spec) });

/** Changes as the journal stores them, except puts. Consecutive ledger changes of one type are one change. */
export const ChangeSchemas = {
  delete: change("delete", { kind: Type.Unsafe<Kind>(Type.String()), name: ObjectNameSchema }),
  revision: change("revision", { revision: Count }),
  gateway: change("gateway", { gateway: GatewaySchema }),
  "full-set": change("full-set", FullSetMark),
  tombstone: change("tombstone", Tombstone),
  "forget-tombstone": change("forget-tombstone", { key: Type.String() }),
  "evict-tombstone": change("evict-tombstone", { key: Type.String() }),
  lease: change("lease", Lease),
  "ledger-epoch": change("ledger-epoch", { epoch: Type.String() }),
  "ledger-add": change("ledger-add", { entries: Type.Array(LedgerKeySchema) }),
  "ledger-remove": change("ledger-remove", { entries: Type.Array(LedgerKeySchema) }),
  retire: change("retire", { addresses: Type.Array(IpSchema) }),
  unretire: change("unretire", { addresses: Type.Array(IpSchema) }),
} as const;

export type RecordedChange =
  | Static<(typeof ChangeSchemas)[keyof typeof ChangeSchemas]>
  | { readonly type: "put"; readonly kind: Kind; readonly object: Stored<Spec> };
