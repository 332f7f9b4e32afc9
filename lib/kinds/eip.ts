/** An elastic IP: an address on the external interface. Other kinds refer to it by its name. */
import { type Static, Type } from "typebox";
import { everyNth } from "../chunked.ts";
import { familyOf } from "../model/families.ts";
import type { AddressValue, Family } from "../model/family.ts";
import { addressOf, type Ip, prefixLengthOf } from "../model/ip.ts";
import { type InterfaceName, type ObjectName, objectId } from "../model/names.ts";
import type { ProgramEip } from "../model/program.ts";
import { InterfaceAddressSchema, InterfaceNameSchema } from "../model/schema.ts";
import { hostIssues, interfaceIssues } from "./address-fields.ts";
import { acceptedBlock, clashBlock, interfaceBlock, quarantineBlock } from "./blocks.ts";
import { type Clash, type ClashContext, ownAddressClash, type SubnetRange } from "./clash.ts";
import type { Block, Compilation } from "./compilation.ts";
import type { Facts } from "./facts.ts";
import { compiledAtOnce, type KindRecord, namesOf, type Parsed, parseOnce, specSchema } from "./kind.ts";

const EipSchema = specSchema({
  address: InterfaceAddressSchema,
  interface: Type.Optional(InterfaceNameSchema),
  leaseSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 31_536_000 })),
  bound: Type.Optional(
    Type.Boolean({ description: "If false, rules on the EIP are programmed but the address is not held" }),
  ),
});
export type Eip = Readonly<Static<typeof EipSchema>>;

interface ParsedEip extends Parsed<Eip> {
  readonly address: Ip;
  readonly value: AddressValue;
  readonly family: Family;
  readonly prefixLength: number;
  /** Whether the address is reserved in its own subnet, so that no host may hold it. */
  readonly reserved: "network" | "broadcast" | undefined;
}

export const eipKind = {
  kind: "eip",
  title: "Eip",
  schema: EipSchema,
  canonical: (spec) => ({
    ...namesOf(spec),
    address: spec.address,
    ...(spec.interface === undefined ? {} : { interface: spec.interface }),
    ...(spec.leaseSeconds === undefined ? {} : { leaseSeconds: spec.leaseSeconds }),
    ...(spec.bound === undefined ? {} : { bound: spec.bound }),
  }),
  issues: ({ address, interface: name }) => [
    ...hostIssues(addressOf(address), "/address"),
    ...interfaceIssues(name, "/interface"),
    ...(prefixLengthOf(address) === 0
      ? [{ pointer: "/address", message: "prefix length 0 makes the whole Internet one subnet" }]
      : []),
  ],
  leaseSeconds: (spec) => spec.leaseSeconds,
  couplingKey: ({ address }) => addressOf(address),
  parseAll: parseOnce(parse),
  identity: ({ address }) => addressOf(address),
  ownIdentity: ({ address }) => addressOf(address),
  holding: ({ address }) => `${addressOf(address)} is the address of`,
  obstacle,
  isTranslating: false,
  *compile(objects, compilation) {
    const isDue = everyNth(compiledAtOnce);
    const eips: ProgramEip[] = [];
    const unboundEips: ProgramEip[] = [];
    for (const object of objects) {
      if (isDue()) yield;
      const { id, spec, address, prefixLength } = object;
      const isBound = spec.bound !== false;
      const block =
        unusableBlock(object, compilation) ?? (isBound ? claimBlock(object, compilation) : unbound);
      if (block !== undefined) compilation.blocked.set(id, block);
      if (block !== undefined && block !== unbound) continue;
      const eip = { id, address, prefixLength, interface: interfaceOf(spec, compilation.context) };
      compilation.eips.set(spec.name, eip);
      (isBound ? eips : unboundEips).push(eip);
    }
    return { eips, ...(unboundEips.length > 0 && { unboundEips }) };
  },
  verbalize({ address, interface: name, bound }) {
    return `EIP ${address}${name === undefined ? "" : ` on ${name}`}${bound === false ? ", not held" : ""}`;
  },
} as const satisfies KindRecord<"eip", Eip, ParsedEip>;

function parse(spec: Eip): ParsedEip {
  const address = addressOf(spec.address);
  const family = familyOf(address);
  return {
    id: objectId("eip", spec.name),
    spec,
    identity: address,
    address,
    value: family.toValue(address),
    family,
    prefixLength: prefixLengthOf(spec.address),
    reserved: family.reservedRoleOf(spec.address),
  };
}

function obstacle(eip: ParsedEip, context: ClashContext): Clash | undefined {
  const { spec, address, reserved, family } = eip;
  if (context.ownAddresses.has(address)) return ownAddressClash(address);
  if (address === context.nextHop)
    return { with: "gateway", message: `${address} is the default gateway's address` };
  if (reserved !== undefined)
    return {
      with: "subnet",
      message: `${address} is the ${reserved} address of ${family.networkOf(spec.address)}`,
    };
  const overlapped = overlappedSubnet(eip, context);
  if (overlapped === undefined) return undefined;
  const network = family.networkOf(spec.address);
  const taken = `${network} takes packets from ${overlapped.cidr} on ${overlapped.interface}`;
  return { with: "subnet", message: `${taken}: use prefix length ${family.bits} for the EIP` };
}

/**
 * The subnet of another interface that loses packets to the connected route of the EIP's address. This happens if the
 * network of the EIP's address lies inside that subnet. A network of one host adds no connected route; neither does one that
 * the EIP's interface connects by an address of its own.
 */
function overlappedSubnet(eip: ParsedEip, context: ClashContext): SubnetRange | undefined {
  const { value, prefixLength, family } = eip;
  const name = interfaceOf(eip.spec, context);
  if (prefixLength === family.bits || context.missingInterfaces?.has(name)) return undefined;
  let overlapped: SubnetRange | undefined;
  for (const subnet of context.subnets) {
    const isInside = prefixLength >= subnet.prefixLength && subnet.first <= value && value <= subnet.last;
    if (!isInside) continue;
    if (subnet.interface !== name) overlapped ??= subnet;
    else if (subnet.prefixLength === prefixLength) return undefined;
  }
  return overlapped;
}

const unbound = acceptedBlock("Unbound", "bound is false: rules can use the EIP, the address is not held");

/** What keeps an Eip out, and with it all objects that refer to it, whether or not its address is held. */
function unusableBlock({ id, spec }: ParsedEip, compilation: Compilation): Block | undefined {
  const { context } = compilation;
  return (
    clashBlock(id, compilation) ??
    (context.expiredLeases.has(spec.name) ? expired(spec.name) : undefined) ??
    interfaceBlock(interfaceOf(spec, context), context)
  );
}

/** What keeps the address from being held. */
function claimBlock({ id, address }: ParsedEip, compilation: Compilation): Block | undefined {
  const { context } = compilation;
  const mac = context.addressConflicts.get(address);
  return (
    (mac === undefined ? undefined : acceptedBlock("AddressConflict", `${mac} answers for ${address}`)) ??
    (context.probing?.has(address)
      ? acceptedBlock("Pending", `probing by ARP whether another host holds ${address}`)
      : undefined) ??
    quarantineBlock(id, compilation)
  );
}

function interfaceOf(spec: Eip, { externalInterface }: Facts): InterfaceName {
  return spec.interface ?? externalInterface;
}

function expired(eip: ObjectName): Block {
  return acceptedBlock("LeaseExpired", `the lease of eip ${eip} expired`);
}
