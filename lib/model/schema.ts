/**
 * The schemas of values that several kinds and requests have in common. A kind's own schema stands in its record, in
 * `lib/kinds/`; a schema judges shape alone.
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

/** Objects of one kind that one request or the whole set may hold. */
export const maxObjectsPerKind = 50_000;

export const ObjectNameSchema = Type.Unsafe<ObjectName>(
  Type.String({ pattern: objectNamePattern, minLength: 1, maxLength: 253, description: "A DNS subdomain" }),
);
export const UidSchema = Type.Unsafe<Uid>(
  Type.String({ pattern: uidPattern, description: "One life of the object; a deleted uid never comes back" }),
);
export const InterfaceNameSchema = Type.Unsafe<InterfaceName>(
  Type.String({ pattern: interfaceNamePattern, description: "A network interface" }),
);
export const IpSchema = Type.Unsafe<Ip>(Type.String({ pattern: ipPattern, description: "An IPv4 address" }));
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

export const BackendSchema = Type.Object({ ip: IpSchema, port: PortSchema }, closed);
export type Backend = Static<typeof BackendSchema>;

export const GatewaySchema = Type.Object({ defaultGateway: Type.Optional(IpSchema) }, closed);
export type Gateway = Readonly<Static<typeof GatewaySchema>>;
