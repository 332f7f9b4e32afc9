/** A rate limit for traffic to or from an EIP, or for a device's incoming or outgoing traffic. */
import { type Static, Type } from "typebox";
import { everyNth } from "../chunked.ts";
import type { InputIssue } from "../model/errors.ts";
import { prefixLengthOf } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import { objectId } from "../model/names.ts";
import type { LimitTarget, ProgramLimit } from "../model/program.ts";
import { CidrSchema, InterfaceNameSchema, ObjectNameSchema } from "../model/schema.ts";
import { interfaceIssues, masked, networkIssues } from "./address-fields.ts";
import { clashBlock, interfaceBlock, quarantineBlock } from "./blocks.ts";
import type { Compilation } from "./compilation.ts";
import { eipFor, eipText } from "./eip-users.ts";
import type { Facts } from "./facts.ts";
import { compiledAtOnce, type KindRecord, namesOf, type Parsed, parseOnce, specSchema } from "./kind.ts";

const LimitSchema = specSchema({
  direction: Type.Enum(["ingress", "egress"], {
    title: "LimitDirection",
    description: "Ingress: traffic to the EIP, or into the device",
  }),
  rateMbit: Type.Number({ minimum: 0.001, maximum: 1_000_000, description: "In 10^6 bits per second" }),
  burstMB: Type.Optional(Type.Number({ minimum: 0.001, maximum: 4_095, description: "In 2^20 bytes" })),
  priority: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 65_535, description: "Lower values match first" }),
  ),
  eip: Type.Optional(ObjectNameSchema),
  interface: Type.Optional(InterfaceNameSchema),
  match: Type.Optional(
    Type.Object(
      { src: Type.Optional(CidrSchema), dst: Type.Optional(CidrSchema) },
      { additionalProperties: false, title: "LimitMatch" },
    ),
  ),
});
export type Limit = Readonly<Static<typeof LimitSchema>>;

export const limitKind = {
  kind: "limit",
  title: "Limit",
  schema: LimitSchema,
  isOptionalInSet: true,
  canonical: (spec) => ({
    ...namesOf(spec),
    direction: spec.direction,
    rateMbit: spec.rateMbit,
    ...(spec.burstMB === undefined ? {} : { burstMB: spec.burstMB }),
    ...(spec.priority === undefined ? {} : { priority: spec.priority }),
    ...(spec.eip === undefined ? {} : { eip: spec.eip }),
    ...(spec.interface === undefined ? {} : { interface: spec.interface }),
    ...(spec.match === undefined ? {} : { match: canonicalMatch(spec.match) }),
  }),
  issues: (spec) => [...targetIssues(spec), ...matchIssues(spec)],
  eipOf: (spec) => spec.eip,
  parseAll: parseOnce(parse),
  identity: (spec, facts) => `${targetOf(spec, facts)} ${spec.direction} ${matchText(spec)}`,
  holding(spec) {
    const target = spec.eip === undefined ? spec.interface : `eip ${spec.eip}`;
    return `${spec.direction} of ${target}${matchText(spec)} is limited by`;
  },
  isTranslating: false,
  *compile(objects, compilation) {
    const isDue = everyNth(compiledAtOnce);
    const limits: ProgramLimit[] = [];
    for (const object of objects) {
      if (isDue()) yield;
      const limit = compileLimit(object, compilation);
      if (limit !== undefined) limits.push(limit);
    }
    return limits.length === 0 ? {} : { limits };
  },
  verbalize(spec, addressOf) {
    const { direction, rateMbit, burstMB, eip } = spec;
    const target = eip === undefined ? `${spec.interface}${matchText(spec)}` : eipText(eip, addressOf);
    const burst = burstMB === undefined ? "" : `, bursts of ${burstMB} MB`;
    return `limit ${direction} of ${target} to ${rateMbit} Mbit/s${burst}`;
  },
} as const satisfies KindRecord<"limit", Limit, Parsed<Limit>>;

export const bytesPerMbit = 1_000_000 / 8;
export const bytesPerMB = 2 ** 20;

/** `undefined` if something keeps the limit out; it is then recorded as blocked. */
function compileLimit({ id, spec }: Parsed<Limit>, compilation: Compilation): ProgramLimit | undefined {
  const { direction, rateMbit, burstMB, priority } = spec;
  const common = {
    id,
    direction,
    rate: Math.round(rateMbit * bytesPerMbit),
    ...(burstMB !== undefined && { burst: Math.round(burstMB * bytesPerMB) }),
    ...(priority !== undefined && { priority }),
  };
  if (spec.eip !== undefined) {
    const eip = eipFor({ id, spec: { ...spec, eip: spec.eip } }, compilation);
    return eip && { ...common, interface: eip.interface, target: { kind: "eip", eip: eip.address } };
  }
  const { context } = compilation;
  const name = deviceOf(spec.interface, context);
  const block =
    clashBlock(id, compilation) ??
    quarantineBlock(id, compilation) ??
    (name && interfaceBlock(name, context));
  if (block !== undefined || name === undefined) {
    if (block !== undefined) compilation.blocked.set(id, block);
    return undefined;
  }
  return { ...common, interface: name, target: targetOfMatch(spec) };
}

/** A network of all addresses is all packets. */
function targetOfMatch({ match }: Limit): LimitTarget {
  const cidr = match?.src ?? match?.dst;
  if (cidr === undefined || prefixLengthOf(cidr) === 0) return { kind: "all" };
  return { kind: "network", side: match?.src === undefined ? "destination" : "source", cidr };
}

function parse(spec: Limit): Parsed<Limit> {
  return { id: objectId("limit", spec.name), spec };
}

function targetIssues({ eip, interface: name }: Limit): readonly InputIssue[] {
  if (eip === undefined && name === undefined) return [{ pointer: "/eip", message: "set eip or interface" }];
  if (eip !== undefined && name !== undefined)
    return [{ pointer: "/interface", message: "set either eip or interface, not both" }];
  return interfaceIssues(name, "/interface");
}

function matchIssues({ eip, match }: Limit): readonly InputIssue[] {
  if (match === undefined) return [];
  if (eip !== undefined) return [{ pointer: "/match", message: "match is allowed only with interface" }];
  const { src, dst } = match;
  if ((src === undefined) === (dst === undefined)) return [{ pointer: "/match", message: "set src or dst" }];
  return [
    ...(src === undefined ? [] : networkIssues(src, "/match/src")),
    ...(dst === undefined ? [] : networkIssues(dst, "/match/dst")),
  ];
}

function canonicalMatch({ src, dst }: NonNullable<Limit["match"]>): NonNullable<Limit["match"]> {
  return {
    ...(src === undefined ? {} : { src: masked(src) }),
    ...(dst === undefined ? {} : { dst: masked(dst) }),
  };
}

/**
 * `vpc` and `external` are aliases of two devices. A limit under an alias is the same limit as under the device's name.
 */
function targetOf({ eip, interface: name }: Limit, facts: Facts): string {
  return eip === undefined ? `device ${deviceOf(name, facts)}` : `eip ${eip}`;
}

function deviceOf(name: InterfaceName | undefined, { vpcInterface, externalInterface }: Facts) {
  if (name === "vpc") return vpcInterface;
  return name === "external" ? externalInterface : name;
}

function matchText({ match }: Limit): string {
  if (match?.src !== undefined) return ` from ${match.src}`;
  return match?.dst === undefined ? "" : ` to ${match.dst}`;
}
