/** A floating IP: 1:1 NAT between an EIP and an internal IP. */
import type { Static } from "typebox";
import { everyNth } from "../chunked.ts";
import type { Ip } from "../model/ip.ts";
import { objectId } from "../model/names.ts";
import type { ProgramFip } from "../model/program.ts";
import { IpSchema, ObjectNameSchema } from "../model/schema.ts";
import { hostIssues } from "./address-fields.ts";
import { ownAddressClash } from "./clash.ts";
import { eipFor, eipText } from "./eip-users.ts";
import { compiledAtOnce, type KindRecord, namesOf, type Parsed, parseOnce, specSchema } from "./kind.ts";

const FipSchema = specSchema({ eip: ObjectNameSchema, internalIp: IpSchema });
export type Fip = Readonly<Static<typeof FipSchema>>;

export const fipKind = {
  kind: "fip",
  title: "Fip",
  schema: FipSchema,
  canonical: (spec) => ({ ...namesOf(spec), eip: spec.eip, internalIp: spec.internalIp }),
  issues: ({ internalIp }) => hostIssues(internalIp, "/internalIp"),
  eipOf: (spec) => spec.eip,
  // If several FIPs have one internal IP, only the oldest is used for outgoing traffic.
  couplingKey: (spec) => spec.internalIp,
  parseAll: parseOnce(parse),
  identity: (spec) => spec.eip,
  ownIdentity: (spec) => spec.eip,
  holding: (spec) => `eip ${spec.eip} is already used by`,
  obstacle: ({ spec }, { ownAddresses }) =>
    ownAddresses.has(spec.internalIp) ? ownAddressClash(spec.internalIp) : undefined,
  isTranslating: true,
  *compile(objects, compilation) {
    const isDue = everyNth(compiledAtOnce);
    const fips: ProgramFip[] = [];
    const outward = new Set<Ip>();
    for (const object of objects) {
      if (isDue()) yield;
      const eip = eipFor(object, compilation);
      if (eip === undefined) continue;
      const { internalIp } = object.spec;
      fips.push({ id: object.id, eip: eip.address, internalIp, isOutward: !outward.has(internalIp) });
      outward.add(internalIp);
    }
    return { fips };
  },
  verbalize: (spec, addressOf) => `FIP ${eipText(spec.eip, addressOf)} ↔ ${spec.internalIp}`,
} as const satisfies KindRecord<"fip", Fip, Parsed<Fip>>;

function parse(spec: Fip): Parsed<Fip> {
  return { id: objectId("fip", spec.name), spec, identity: spec.eip };
}
