/** A route of the gateway to a network. */
import { type Static, Type } from "typebox";
import { everyNth } from "../chunked.ts";
import { familyOf } from "../model/families.ts";
import { objectId } from "../model/names.ts";
import type { ProgramRoute } from "../model/program.ts";
import { CidrSchema, IpSchema } from "../model/schema.ts";
import { hostIssues, masked, networkIssues } from "./address-fields.ts";
import { clashBlock, interfaceBlock, quarantineBlock } from "./blocks.ts";
import { ownAddressClash } from "./clash.ts";
import { compiledAtOnce, type KindRecord, namesOf, type Parsed, parseOnce, specSchema } from "./kind.ts";

const RouteSchema = specSchema({
  destination: CidrSchema,
  via: IpSchema,
  interface: Type.Optional(Type.Enum(["vpc", "external"], { title: "RouteInterface" })),
});
export type Route = Readonly<Static<typeof RouteSchema>>;

export const routeKind = {
  kind: "route",
  title: "Route",
  schema: RouteSchema,
  canonical: (spec) => ({
    ...namesOf(spec),
    destination: masked(spec.destination),
    via: spec.via,
    ...(spec.interface === undefined ? {} : { interface: spec.interface }),
  }),
  issues: ({ destination, via }) => [
    ...networkIssues(destination, "/destination"),
    ...hostIssues(via, "/via"),
  ],
  parseAll: parseOnce(parse),
  identity: ({ destination }) => destination,
  ownIdentity: ({ destination }) => destination,
  holding: ({ destination }) => `${destination} is the destination of`,
  obstacle: ({ spec }, { nextHop, ownAddresses }) => {
    // The kernel takes no next hop that is its own.
    if (ownAddresses.has(spec.via)) return ownAddressClash(spec.via);
    return nextHop !== undefined && familyOf(nextHop).contains(spec.destination, nextHop)
      ? {
          with: "gateway",
          message: `${spec.destination} contains ${nextHop}, the next hop of the default route`,
        }
      : undefined;
  },
  isTranslating: false,
  *compile(objects, compilation) {
    const isDue = everyNth(compiledAtOnce);
    const { context } = compilation;
    const routes: ProgramRoute[] = [];
    for (const { id, spec } of objects) {
      if (isDue()) yield;
      const onLink = spec.interface === "external" ? context.externalInterface : context.vpcInterface;
      const block =
        clashBlock(id, compilation) ?? interfaceBlock(onLink, context) ?? quarantineBlock(id, compilation);
      if (block !== undefined) compilation.blocked.set(id, block);
      else routes.push({ id, destination: spec.destination, via: spec.via, interface: onLink });
    }
    return { routes };
  },
  verbalize: ({ destination, via, interface: side }) =>
    `route ${destination} via ${via}${side === "external" ? " on the external interface" : ""}`,
} as const satisfies KindRecord<"route", Route, Parsed<Route>>;

function parse(spec: Route): Parsed<Route> {
  return { id: objectId("route", spec.name), spec, identity: spec.destination };
}
