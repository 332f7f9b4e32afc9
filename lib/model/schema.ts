/**
 * Schemas of values that several kinds and requests share. The schema of a kind is in its record in `lib/kinds/`. A
 * schema checks only the shape.
 */
import { type Static, Type } from "typebox";
import { cidrPattern, ipPattern } from "./families.ts";
import type { Cidr, InterfaceAddress, Ip } from "./ip.ts";
import {
  type InterfaceName,
  interfaceNamePattern,
  type ObjectName,
  objectNamePattern,
  type Uid,
  uidPattern,
} from "./names.ts";

/** Maximum number of objects of one kind, per request and in the whole set. */
export const maxObjectsPerKind = 50_000;

export const ObjectNameSchema = Type.Unsafe<ObjectName>(
  Type.String({ pattern: objectNamePattern, minLength: 1, maxLength: 253, description: "A DNS subdomain" }),
);
export const UidSchema = Type.Unsafe<Uid>(
  Type.String({
    pattern: uidPattern,
    description: "An identifier for one life of the object; a deleted uid cannot be used again",
  }),
);
export const InterfaceNameSchema = Type.Unsafe<InterfaceName>(
  Type.String({ pattern: interfaceNamePattern, description: "A network interface" }),
);
export const IpSchema = Type.Unsafe<Ip>(Type.String({ pattern: ipPattern, description: "An IPv4 address" }));
/** Requests may have host bits set. The stored form is masked. */
export const CidrSchema = Type.Unsafe<Cidr>(
  Type.String({ pattern: cidrPattern, description: "An IPv4 network; host bits are masked" }),
);
export const InterfaceAddressSchema = Type.Unsafe<InterfaceAddress>(
  Type.String({ pattern: cidrPattern, description: "An IPv4 address and its subnet's prefix length" }),
);
export const PortSchema = Type.Integer({ minimum: 1, maximum: 65535 });

export const ProtocolSchema = Type.Enum(["tcp", "udp", "sctp"], { title: "Protocol" });
export type Protocol = Static<typeof ProtocolSchema>;

const closed = { additionalProperties: false } as const;

export const BackendSchema = Type.Object({ ip: IpSchema, port: PortSchema }, { ...closed, title: "Backend" });
export type Backend = Static<typeof BackendSchema>;

/** The interfaces go before those of the settings. A set has both or none. */
export const GatewaySchema = Type.Object(
  {
    defaultGateway: Type.Optional(IpSchema),
    vpcInterface: Type.Optional(InterfaceNameSchema),
    externalInterface: Type.Optional(InterfaceNameSchema),
  },
  { ...closed, title: "Gateway" },
);
export type Gateway = Readonly<Static<typeof GatewaySchema>>;
