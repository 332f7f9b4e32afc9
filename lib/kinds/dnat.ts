/**
 * Destination NAT: forwards a port of an EIP to a port of one internal IP, or of several: with equal shares, or by the client's
 * address.
 */
import { type Static, Type } from "typebox";
import { everyNth } from "../chunked.ts";
import type { InputIssue } from "../model/errors.ts";
import type { Ip } from "../model/ip.ts";
import { type ObjectId, objectId } from "../model/names.ts";
import type { ProgramDnat } from "../model/program.ts";
import {
  type Backend,
  BackendSchema,
  IpSchema,
  ObjectNameSchema,
  PortSchema,
  ProtocolSchema,
} from "../model/schema.ts";
import { hostIssues } from "./address-fields.ts";
import { ownAddressClash } from "./clash.ts";
import type { Compilation } from "./compilation.ts";
import { eipFor, eipText } from "./eip-users.ts";
import { compiledAtOnce, type KindRecord, namesOf, type Parsed, parseOnce, specSchema } from "./kind.ts";

/** Maximum number of backends of one DNAT. */
const maxBackends = 256;
/** Number of backends listed in the text. More are only counted. */
const maxSpelledOut = 3;

const DnatSchema = specSchema({
  eip: ObjectNameSchema,
  protocol: ProtocolSchema,
  externalPort: PortSchema,
  internalIp: Type.Optional(IpSchema),
  internalPort: Type.Optional(PortSchema),
  backends: Type.Optional(Type.Array(BackendSchema, { maxItems: maxBackends })),
  sessionAffinity: Type.Optional(
    Type.Enum(["None", "ClientIP"], {
      title: "SessionAffinity",
      description:
        "ClientIP: all flows of a client go to the same backend, as long as the list has the same backends",
    }),
  ),
});
export type Dnat = Readonly<Static<typeof DnatSchema>>;

export const dnatKind = {
  kind: "dnat",
  title: "Dnat",
  schema: DnatSchema,
  canonical: (spec) => ({
    ...namesOf(spec),
    eip: spec.eip,
    protocol: spec.protocol,
    externalPort: spec.externalPort,
    ...(spec.internalIp === undefined ? {} : { internalIp: spec.internalIp }),
    ...(spec.internalPort === undefined ? {} : { internalPort: spec.internalPort }),
    ...(spec.backends === undefined ? {} : { backends: spec.backends.map(({ ip, port }) => ({ ip, port })) }),
    ...(spec.sessionAffinity === undefined ? {} : { sessionAffinity: spec.sessionAffinity }),
  }),
  issues,
  eipOf: (spec) => spec.eip,
  couplingKey: () => undefined,
  parseAll: parseOnce(parse),
  identity,
  ownIdentity: identity,
  holding: (spec) => `${spec.protocol} port ${spec.externalPort} of eip ${spec.eip} is forwarded by`,
  obstacle({ spec }, { ownAddresses }) {
    const own = internalIpsOf(spec).find((ip) => ownAddresses.has(ip));
    return own === undefined ? undefined : ownAddressClash(own);
  },
  isTranslating: true,
  *compile(objects, compilation) {
    const isDue = everyNth(compiledAtOnce);
    const dnats: ProgramDnat[] = [];
    const eips = new Map<ObjectId, Ip>();
    for (const object of objects) {
      if (isDue()) yield;
      const eip = eipFor(object, compilation);
      if (eip === undefined) continue;
      const { id, spec } = object;
      const { protocol, externalPort } = spec;
      eips.set(id, eip.address);
      const [first, ...others] = isSticky(spec) ? backendsOf(spec).toSorted(byAddress) : backendsOf(spec);
      if (first === undefined)
        compilation.idle.set(id, { reason: "NoBackends", message: "it has no backends, so it has no rule" });
      else
        dnats.push({
          id,
          eip: eip.address,
          protocol,
          externalPort,
          backends: [first, ...others],
          ...(spec.backends !== undefined && { isList: true }),
          ...(isSticky(spec) && { isSticky: true }),
        });
    }
    markShadowed(eips, compilation);
    return { dnats };
  },
  verbalize(spec, addressOf) {
    const { eip, protocol, externalPort } = spec;
    return `DNAT ${eipText(eip, addressOf)} ${protocol}/${externalPort} → ${targetText(backendsOf(spec))}${isSticky(spec) ? " by the client's address" : ""}`;
  },
} as const satisfies KindRecord<"dnat", Dnat, Parsed<Dnat>>;

function parse(spec: Dnat): Parsed<Dnat> {
  return { id: objectId("dnat", spec.name), spec, identity: identity(spec) };
}

function identity({ eip, protocol, externalPort }: Dnat): string {
  return `${eip} ${protocol} ${externalPort}`;
}

/** A FIP takes every packet of its EIP, so a DNAT on the same EIP gets none. */
function markShadowed(dnats: ReadonlyMap<ObjectId, Ip>, { program, shadowed }: Compilation): void {
  const eips = new Set(dnats.values());
  if (eips.size === 0) return;
  const fips = new Map<Ip, ObjectId>();
  for (const { id, eip } of program.fips) if (eips.has(eip)) fips.set(eip, id);
  if (fips.size === 0) return;
  for (const [id, eip] of dnats) {
    const fip = fips.get(eip);
    if (fip !== undefined) shadowed.set(id, fip);
  }
}

/** The order of backends for the hash of a client's address: another order in the spec moves no client. */
function byAddress(one: Backend, other: Backend): number {
  return one.ip === other.ip ? one.port - other.port : one.ip < other.ip ? -1 : 1;
}

function isSticky({ sessionAffinity }: Dnat): boolean {
  return sessionAffinity === "ClientIP";
}

function issues({ internalIp, internalPort, backends, sessionAffinity }: Dnat): readonly InputIssue[] {
  const issues: InputIssue[] = [];
  if (internalIp !== undefined) issues.push(...hostIssues(internalIp, "/internalIp"));
  if (backends === undefined) {
    if (internalIp === undefined)
      issues.push({
        pointer: "/internalIp",
        message: "set internalIp and internalPort, or backends",
      });
    else if (internalPort === undefined)
      issues.push({ pointer: "/internalPort", message: "internalIp requires internalPort" });
    if (sessionAffinity === "ClientIP")
      issues.push({ pointer: "/sessionAffinity", message: "ClientIP requires backends" });
    return issues;
  }
  if (internalIp !== undefined || internalPort !== undefined)
    issues.push({
      pointer: "/backends",
      message: "set either backends, or internalIp and internalPort, not both",
    });
  const seen = new Set<string>();
  for (const [index, { ip, port }] of backends.entries()) {
    issues.push(...hostIssues(ip, `/backends/${index}/ip`));
    if (seen.has(`${ip}:${port}`))
      issues.push({ pointer: `/backends/${index}`, message: `${ip}:${port} occurs twice` });
    seen.add(`${ip}:${port}`);
  }
  return issues;
}

function internalIpsOf(spec: Dnat): readonly Ip[] {
  if (spec.backends !== undefined) return spec.backends.map((backend) => backend.ip);
  return spec.internalIp === undefined ? [] : [spec.internalIp];
}

function backendsOf(spec: Dnat): readonly Backend[] {
  if (spec.backends !== undefined) return spec.backends;
  if (spec.internalIp === undefined || spec.internalPort === undefined) return [];
  return [{ ip: spec.internalIp, port: spec.internalPort }];
}

function targetText(backends: readonly Backend[]): string {
  if (backends.length === 0) return "no backends";
  const spelledOut = backends.slice(0, maxSpelledOut).map(({ ip, port }) => `${ip}:${port}`);
  const left = backends.length - spelledOut.length;
  return spelledOut.join(", ") + (left === 0 ? "" : ` and ${left} more`);
}
