/** Source NAT: traffic of an internal network leaves with the address of an EIP. */
import { type Static, Type } from "typebox";
import { everyNth } from "../chunked.ts";
import { objectId } from "../model/names.ts";
import { CidrSchema, ObjectNameSchema } from "../model/schema.ts";
import { masked, networkIssues } from "./address-fields.ts";
import { eipFor, eipText } from "./eip-users.ts";
import { compiledAtOnce, type KindRecord, namesOf, type Parsed, parseOnce, specSchema } from "./kind.ts";
import { type ProgrammedSnat, poolSnats } from "./snat-pools.ts";

const SnatSchema = specSchema({
  eip: ObjectNameSchema,
  internalCIDR: CidrSchema,
  mapping: Type.Optional(Type.Enum(["random", "preserve"], { title: "SnatMapping" })),
});
export type Snat = Readonly<Static<typeof SnatSchema>>;

export const snatKind = {
  kind: "snat",
  title: "Snat",
  schema: SnatSchema,
  canonical: (spec) => ({
    ...namesOf(spec),
    eip: spec.eip,
    internalCIDR: masked(spec.internalCIDR),
    ...(spec.mapping === undefined ? {} : { mapping: spec.mapping }),
  }),
  issues: ({ internalCIDR }) => networkIssues(internalCIDR, "/internalCIDR"),
  eipOf: (spec) => spec.eip,
  parseAll: parseOnce(parse),
  identity,
  ownIdentity: identity,
  holding: (spec) => `${spec.internalCIDR} leaves by eip ${spec.eip} through`,
  isTranslating: true,
  *compile(objects, compilation) {
    const isDue = everyNth(compiledAtOnce);
    const programmed: ProgrammedSnat[] = [];
    for (const object of objects) {
      if (isDue()) yield;
      const eip = eipFor(object, compilation);
      if (eip === undefined) continue;
      const { internalCIDR, mapping } = object.spec;
      programmed.push({ id: object.id, cidr: internalCIDR, eip, mapping: mapping ?? "random" });
    }
    const { pools, standby } = yield* poolSnats(programmed, compilation.context.family);
    for (const [id, oldest] of standby) {
      if (isDue()) yield;
      compilation.idle.set(id, {
        reason: "Standby",
        message: `older SNATs of its CIDR serve all clients; the oldest is ${oldest}`,
      });
    }
    return { pools };
  },
  verbalize: (spec, addressOf) => `SNAT ${spec.internalCIDR} → ${eipText(spec.eip, addressOf)}`,
} as const satisfies KindRecord<"snat", Snat, Parsed<Snat>>;

function parse(spec: Snat): Parsed<Snat> {
  return { id: objectId("snat", spec.name), spec, identity: identity(spec) };
}

function identity({ eip, internalCIDR }: Snat): string {
  return `${eip} ${internalCIDR}`;
}
