/** The stored objects that a packet concerns: the one behind a rule, and the one whose rule is missing. */
import { type Chunked, forEachChunked } from "../chunked.ts";
import { addressOf, type Ip } from "../model/ip.ts";
import { type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import type { Reason } from "../model/status.ts";
import type { Desired } from "../state/desired.ts";
import type { ExplainCode } from "./explanation.ts";
import type { Hit } from "./own-rules.ts";
import type { Packet } from "./packet.ts";
import type { World } from "./world.ts";

/** The Eip with this address. */
export function eipAt(address: Ip, { eipNames }: World): ObjectName | undefined {
  return eipNames.get(address);
}

/** Takes a few milliseconds. */
const notedAtOnce = 5_000;

/** The names of Eips by their addresses; of the older one if two have the same. */
export function* eipNamesOf({ eips }: Desired): Chunked<ReadonlyMap<Ip, ObjectName>> {
  const names = new Map<Ip, ObjectName>();
  yield* forEachChunked(eips, notedAtOnce, ([name, { spec }]) => {
    const address = addressOf(spec.address);
    if (!names.has(address)) names.set(address, name);
  });
  return names;
}

function addressOfEip(name: ObjectName, { desired }: World): Ip | undefined {
  const eip = desired.eips.get(name);
  return eip && addressOf(eip.spec.address);
}

/** The object that a rule of the agent belongs to. `packet` as it was before. */
export function objectBehind({ side, to }: Hit, packet: Packet, world: World): ObjectId | undefined {
  const [{ address }] = to;
  if (side === "destination") return inwardOf(packet, world, address)[0];
  if (packet.out === world.program.vpcInterface) {
    const eip = eipAt(address, world);
    return eip && objectId("eip", eip);
  }
  return outwardOf(packet.source, world).find((id) => eipOf(id, world) === address);
}

/** FIPs and DNATs for a packet to an EIP: a FIP goes first. */
export function inwardOf(
  { destination, protocol, destinationPort }: Packet,
  world: World,
  internalIp?: Ip,
): readonly ObjectId[] {
  const { desired } = world;
  const found: ObjectId[] = [];
  const eip = eipAt(destination, world);
  if (eip === undefined) return found;
  for (const [name, { spec }] of desired.fips)
    if (spec.eip === eip && (internalIp === undefined || spec.internalIp === internalIp))
      found.push(objectId("fip", name));
  for (const [name, { spec }] of desired.dnats) {
    if (spec.eip === eip && spec.protocol === protocol && spec.externalPort === destinationPort)
      found.push(objectId("dnat", name));
  }
  return found;
}

/** FIPs and SNATs for a packet from a client: FIPs first, then the longest network. */
export function outwardOf(source: Ip | undefined, { desired, program }: World): readonly ObjectId[] {
  if (source === undefined) return [];
  const found: ObjectId[] = [];
  for (const [name, { spec }] of desired.fips)
    if (spec.internalIp === source) found.push(objectId("fip", name));
  const snats: [length: number, ObjectId][] = [];
  for (const [name, { spec }] of desired.snats) {
    const cidr = spec.internalCIDR;
    if (program.family.contains(cidr, source))
      snats.push([Number(cidr.slice(cidr.indexOf("/") + 1)), objectId("snat", name)]);
  }
  snats.sort(([one], [other]) => other - one);
  return [...found, ...snats.map(([, id]) => id)];
}

function eipOf(id: ObjectId, world: World): Ip | undefined {
  const name = id.slice(id.indexOf("/") + 1) as ObjectName;
  const { desired } = world;
  const spec = id.startsWith("fips/") ? desired.fips.get(name)?.spec : desired.snats.get(name)?.spec;
  return spec && addressOfEip(spec.eip, world);
}

/** Why an object has no effect, in the words of an explanation. */
export interface Fault {
  readonly code: ExplainCode;
  readonly object: ObjectId;
  readonly detail: string;
}

const codes: Readonly<Partial<Record<Reason, ExplainCode>>> = {
  Quarantined: "Quarantined",
  AddressConflict: "AddressConflict",
  EipNotReady: "EipNotReady",
  EipNotFound: "EipNotReady",
  Unbound: "EipNotReady",
  LeaseExpired: "EipNotReady",
  InterfaceNotFound: "EipNotReady",
  Shadowed: "Shadowed",
  Standby: "Standby",
  ForeignRule: "ForeignRule",
  NoRoute: "NoRoute",
};

/** The first of `ids` says why. What an Eip lacks goes before what its users do. */
export function faultOf(ids: readonly ObjectId[], world: World, fallback: ExplainCode): Fault | undefined {
  const [object] = ids;
  if (object === undefined) return undefined;
  const eip = eipBehind(object, world);
  const ofEip = eip && world.reasonOf(eip);
  const found = world.reasonOf(object);
  const isEip = found?.reason === "EipNotReady" && ofEip !== undefined;
  const { reason, message } = (isEip ? ofEip : found) ?? { reason: "Pending", message: "" };
  const code = codes[reason] ?? fallback;
  const detail = `${object} has no rule in the kernel${message === "" ? "" : `: ${reason}: ${message}`}`;
  return { code, object, detail };
}

function eipBehind(id: ObjectId, { desired }: World): ObjectId | undefined {
  const name = id.slice(id.indexOf("/") + 1) as ObjectName;
  const spec = (desired.fips.get(name) && id.startsWith("fips/") ? desired.fips.get(name) : undefined)?.spec;
  const other = id.startsWith("snats/")
    ? desired.snats.get(name)?.spec
    : id.startsWith("dnats/")
      ? desired.dnats.get(name)?.spec
      : undefined;
  const eip = spec?.eip ?? other?.eip;
  return eip && objectId("eip", eip);
}

/** Why the SNATs of an EIP are as they are. Empty if it has other users, or none. */
export function reasonsOfSnats(address: Ip, world: World): readonly (Reason | undefined)[] {
  const { desired } = world;
  const eip = eipAt(address, world);
  const isUsed =
    desired.fips.values().some(({ spec }) => spec.eip === eip) ||
    desired.dnats.values().some(({ spec }) => spec.eip === eip);
  if (eip === undefined || isUsed) return [];
  return [...desired.snats].flatMap(([name, { spec }]) =>
    spec.eip === eip ? [world.reasonOf(objectId("snat", name))?.reason] : [],
  );
}
