/** The journal's JSON for a {@link State}: maps as arrays in their order, the ledger's addresses as their keys. */
import { type Static, type TSchema, Type } from "typebox";
import { specSchemas } from "../../lib/kinds/registry.ts";
import { cidrPattern } from "../../lib/model/ipv4.ts";
import { interfaceNamePattern, type Kind, kinds } from "../../lib/model/names.ts";
import { GatewaySchema, Ipv4Schema, ObjectNameSchema } from "../../lib/model/schema.ts";

const closed = { additionalProperties: false } as const;
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const stored = <S extends TSchema>(spec: S) =>
  Type.Object({ spec, revision: Count, creation: Count }, closed);
const InstantSchema = Type.Object(
  { bootId: Type.String(), bootMs: Type.Number(), wallMs: Type.Number() },
  closed,
);
const FullSetMark = { generation: Count, digest: Type.String() };

/** `"net1 203.0.113.10/24"`, a ledger key: a third of the object's length, and a ledger has thousands. */
const LedgerKeySchema = Type.String({
  pattern: `${interfaceNamePattern.slice(0, -1)} ${cidrPattern.slice(1)}`,
});

export const SnapshotSchema = Type.Object(
  {
    isSet: Type.Boolean(),
    revision: Count,
    generation: Count,
    lastFullSet: Type.Optional(Type.Object(FullSetMark, closed)),
    nextCreation: Count,
    gateway: GatewaySchema,
    eips: Type.Array(stored(specSchemas.eip)),
    fips: Type.Array(stored(specSchemas.fip)),
    snats: Type.Array(stored(specSchemas.snat)),
    dnats: Type.Array(stored(specSchemas.dnat)),
    /** Absent in journals from before there were Limits. */
    limits: Type.Optional(Type.Array(stored(specSchemas.limit))),
    routes: Type.Array(stored(specSchemas.route)),
    tombstones: Type.Array(Type.Object({ key: Type.String(), untilMs: Type.Number() }, closed)),
    leases: Type.Array(Type.Object({ name: ObjectNameSchema, renewed: InstantSchema }, closed)),
    ledger: Type.Object(
      { epoch: Type.String(), addresses: Type.Array(LedgerKeySchema), retired: Type.Array(Ipv4Schema) },
      closed,
    ),
  },
  closed,
);
export type Snapshot = Static<typeof SnapshotSchema>;

const change = <const T extends string, P extends Record<string, TSchema>>(type: T, properties: P) =>
  Type.Object({ type: Type.Literal(type), ...properties }, closed);
const put = <const K extends Kind, S extends TSchema>(kind: K, spec: S) =>
  change("put", { kind: Type.Literal(kind), object: stored(spec) });

/** A change as the journal has it: as it is, but for runs of ledger changes, which are one entry. */
export const RecordedChangeSchema = Type.Union([
  put("eip", specSchemas.eip),
  put("fip", specSchemas.fip),
  put("snat", specSchemas.snat),
  put("dnat", specSchemas.dnat),
  put("limit", specSchemas.limit),
  put("route", specSchemas.route),
  change("delete", {
    kind: Type.Enum([...kinds]),
    name: ObjectNameSchema,
  }),
  change("revision", { revision: Count }),
  change("gateway", { gateway: GatewaySchema }),
  change("full-set", FullSetMark),
  change("tombstone", { key: Type.String(), untilMs: Type.Number() }),
  change("forget-tombstone", { key: Type.String() }),
  change("lease", { name: ObjectNameSchema, renewed: InstantSchema }),
  change("ledger-epoch", { epoch: Type.String() }),
  change("ledger-add", { entries: Type.Array(LedgerKeySchema) }),
  change("ledger-remove", { entries: Type.Array(LedgerKeySchema) }),
  change("retire", { addresses: Type.Array(Ipv4Schema) }),
  change("unretire", { addresses: Type.Array(Ipv4Schema) }),
]);
export type RecordedChange = Static<typeof RecordedChangeSchema>;
