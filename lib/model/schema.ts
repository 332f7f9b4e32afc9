/**
 * The schemas of the five kinds and of the requests that carry them: the only source of their types, of the
 * API's validation and of the OpenAPI document. Field names follow Kube-OVN's custom resources.
 *
 * A schema judges shape. What two fields or two objects mean to each other is judged in `lib/admission/`.
 */
import { type Static, type TObject, type TSchema, Type } from "typebox";
import { type Cidr, cidrPattern, type InterfaceAddress, type Ipv4, ipv4Pattern } from "./ipv4.ts";
import {
  type InterfaceName,
  interfaceNamePattern,
  type Kind,
  type ObjectName,
  objectNamePattern,
  type Uid,
  uidPattern,
} from "./names.ts";

/** Objects of one kind that one request or the whole set may hold. */
export const maxObjectsPerKind = 50_000;
/** Backends of one DNAT. */
export const maxBackends = 256;

export const ObjectNameSchema = Type.Unsafe<ObjectName>(
  Type.String({ pattern: objectNamePattern, minLength: 1, maxLength: 253, description: "A DNS subdomain" }),
);
export const UidSchema = Type.Unsafe<Uid>(
  Type.String({ pattern: uidPattern, description: "One life of the object; a deleted uid never comes back" }),
);
export const InterfaceNameSchema = Type.Unsafe<InterfaceName>(
  Type.String({ pattern: interfaceNamePattern, description: "A network interface" }),
);
export const Ipv4Schema = Type.Unsafe<Ipv4>(
  Type.String({ pattern: ipv4Pattern, description: "An IPv4 address" }),
);
/** On the wire host bits are welcome; the stored form is masked. */
export const CidrSchema = Type.Unsafe<Cidr>(
  Type.String({ pattern: cidrPattern, description: "An IPv4 network; host bits are masked" }),
);
export const InterfaceAddressSchema = Type.Unsafe<InterfaceAddress>(
  Type.String({ pattern: cidrPattern, description: "An IPv4 address and its subnet's prefix length" }),
);
export const PortSchema = Type.Integer({ minimum: 1, maximum: 65535 });

export const ProtocolSchema = Type.Enum(["tcp", "udp", "sctp"]);
export type Protocol = Static<typeof ProtocolSchema>;

const closed = { additionalProperties: false } as const;
const identity = { name: ObjectNameSchema, uid: Type.Optional(UidSchema) };

export const EipSchema = Type.Object(
  {
    ...identity,
    address: InterfaceAddressSchema,
    interface: Type.Optional(InterfaceNameSchema),
    leaseSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 31_536_000 })),
  },
  closed,
);
export type Eip = Static<typeof EipSchema>;

export const FipSchema = Type.Object({ ...identity, eip: ObjectNameSchema, internalIp: Ipv4Schema }, closed);
export type Fip = Static<typeof FipSchema>;

export const SnatSchema = Type.Object(
  {
    ...identity,
    eip: ObjectNameSchema,
    internalCIDR: CidrSchema,
    mapping: Type.Optional(Type.Enum(["random", "preserve"])),
  },
  closed,
);
export type Snat = Static<typeof SnatSchema>;

export const BackendSchema = Type.Object({ ip: Ipv4Schema, port: PortSchema }, closed);
export type Backend = Static<typeof BackendSchema>;

export const DnatSchema = Type.Object(
  {
    ...identity,
    eip: ObjectNameSchema,
    protocol: ProtocolSchema,
    externalPort: PortSchema,
    internalIp: Type.Optional(Ipv4Schema),
    internalPort: Type.Optional(PortSchema),
    backends: Type.Optional(Type.Array(BackendSchema, { maxItems: maxBackends })),
  },
  closed,
);
export type Dnat = Static<typeof DnatSchema>;

export const RouteSchema = Type.Object(
  {
    ...identity,
    destination: CidrSchema,
    via: Ipv4Schema,
    interface: Type.Optional(Type.Enum(["vpc", "external"])),
  },
  closed,
);
export type Route = Static<typeof RouteSchema>;

/** The spec of each kind, `name` and `uid` included. */
export interface SpecOf {
  readonly eip: Readonly<Eip>;
  readonly fip: Readonly<Fip>;
  readonly snat: Readonly<Snat>;
  readonly dnat: Readonly<Dnat>;
  readonly route: Readonly<Route>;
}
export type Spec = SpecOf[Kind];

export const specSchemas = {
  eip: EipSchema,
  fip: FipSchema,
  snat: SnatSchema,
  dnat: DnatSchema,
  route: RouteSchema,
} as const satisfies Record<Kind, TObject>;

export const GatewaySchema = Type.Object({ defaultGateway: Type.Optional(Ipv4Schema) }, closed);
export type Gateway = Readonly<Static<typeof GatewaySchema>>;

const listOf = <S extends TSchema>(schema: S) => Type.Array(schema, { maxItems: maxObjectsPerKind });

/** The body of `PUT /v1/desired`: the whole set, all five arrays there. */
export const FullSetSchema = Type.Object(
  {
    generation: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    gateway: Type.Optional(GatewaySchema),
    eips: listOf(EipSchema),
    fips: listOf(FipSchema),
    snats: listOf(SnatSchema),
    dnats: listOf(DnatSchema),
    routes: listOf(RouteSchema),
  },
  closed,
);
export type FullSet = Static<typeof FullSetSchema>;

/** The body of `POST /v1/batch`. */
export const BatchSchema = Type.Object(
  {
    upsert: Type.Optional(
      Type.Object(
        {
          eips: Type.Optional(listOf(EipSchema)),
          fips: Type.Optional(listOf(FipSchema)),
          snats: Type.Optional(listOf(SnatSchema)),
          dnats: Type.Optional(listOf(DnatSchema)),
          routes: Type.Optional(listOf(RouteSchema)),
        },
        closed,
      ),
    ),
    delete: Type.Optional(
      Type.Object(
        {
          eips: Type.Optional(listOf(ObjectNameSchema)),
          fips: Type.Optional(listOf(ObjectNameSchema)),
          snats: Type.Optional(listOf(ObjectNameSchema)),
          dnats: Type.Optional(listOf(ObjectNameSchema)),
          routes: Type.Optional(listOf(ObjectNameSchema)),
        },
        closed,
      ),
    ),
  },
  closed,
);
export type Batch = Static<typeof BatchSchema>;
