/** What the kernel should hold for the limits of a program. */
import { type Chunked, runSync } from "../../chunked.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import type { QosDefinition, QosRule } from "../../nftables/qos.ts";
import type { QosObserved } from "./observed.ts";
import type { WantedClass, WantedElement, WantedRules } from "./parts.ts";
import { policeRules } from "./police.ts";
import { type PlacedLimit, placeLimits } from "./scopes.ts";
import { shapeDevice } from "./shape.ts";

/** Above this number of limits on an interface they are policed: making classes takes quadratic time. */
export const maxShaped = 3_000;

export interface WantedDevice {
  /** Parents before their children. `undefined`: the device has no root qdisc of the agent, and needs none. */
  readonly classes: readonly WantedClass[] | undefined;
  /** All limits that it enforces. */
  readonly objects: readonly ObjectId[];
}

export interface WantedQos {
  readonly devices: ReadonlyMap<InterfaceName, WantedDevice>;
  /** `undefined`: no table. */
  readonly definition: QosDefinition | undefined;
  /** By map or set, then by EIP. */
  readonly elements: ReadonlyMap<string, ReadonlyMap<string, WantedElement>>;
  /** The VPC interface's other names, by which Kube-OVN's tools look for the limits of what comes in. */
  readonly alternativeNames: readonly string[];
  /** Limits on interfaces that do not exist. */
  readonly homeless: ReadonlyMap<ObjectId, InterfaceName>;
}

/** The kernel decides some of it: a device with a foreign root qdisc, or without HTB, polices. */
export function wantedQos(program: Program, observed: QosObserved): WantedQos {
  return runSync(wantedQosChunked(program, observed));
}

/** The same in parts. */
export function* wantedQosChunked(
  program: Program,
  { devices: observed, hasHtb }: QosObserved,
): Chunked<WantedQos> {
  const devices = new Map<InterfaceName, WantedDevice>();
  const rules: WantedRules["rules"][number][] = [];
  const homeless = new Map<ObjectId, InterfaceName>();
  const placed = yield* placeLimits(program);
  for (const [name, all] of placed) {
    const device = observed.get(name);
    const limits: PlacedLimit[] = [];
    for (const one of all) {
      const { id, interface: own } = one.limit;
      if (!observed.has(own)) homeless.set(id, own);
      else if (device === undefined) homeless.set(id, name);
      else limits.push(one);
    }
    if (device === undefined || limits.length === 0) continue;
    const objects = limits.map(({ limit }) => limit.id);
    const isShaped =
      limits.length <= maxShaped && (device.root === "ours" || (hasHtb && device.root !== "foreign"));
    const shaped = isShaped ? yield* shapeDevice(name, limits, program) : undefined;
    const counter = name === program.vpcInterface ? "policy_ingress" : "policy_egress";
    rules.push(...(shaped ?? (yield* policeRules(limits, counter))).rules);
    devices.set(name, { classes: shaped?.classes ?? emptyIfOurs(device.root), objects });
  }
  for (const [name, { root }] of observed)
    if (root === "ours" && !devices.has(name)) devices.set(name, { classes: [], objects: [] });
  return {
    devices,
    ...named(rules),
    alternativeNames: alternativeNames(program, [...devices.keys()]),
    homeless,
  };
}

function emptyIfOurs(root: string): readonly WantedClass[] | undefined {
  return root === "ours" ? [] : undefined;
}

/** The names stay when the limits are gone: a root qdisc that is left tells that there were some. */
function alternativeNames(
  { vpcInterface, externalInterface }: Program,
  devices: readonly InterfaceName[],
): readonly string[] {
  if (devices.length === 0) return [];
  const outsides = new Set([externalInterface, ...devices.filter((name) => name !== vpcInterface)]);
  return Array.from(outsides, (name) => `ifb-${name}`);
}

/** Numbers the maps and sets in the order of their rules. */
function named(rules: WantedRules["rules"]): Pick<WantedQos, "definition" | "elements"> {
  if (rules.length === 0) return { definition: undefined, elements: new Map() };
  const [maps, sets]: [string[], string[]] = [[], []];
  const elements = new Map<string, ReadonlyMap<string, WantedElement>>();
  const numbered = rules.map((rule): QosRule => {
    const { match } = rule;
    if (!("kind" in match)) return { ...rule, match };
    const names = match.kind === "map" ? maps : sets;
    const name = `${match.kind === "map" ? "eips" : "over"}_${names.length}`;
    names.push(name);
    elements.set(name, match.elements);
    return { ...rule, match: match.kind === "map" ? { map: name } : { set: name } };
  });
  return { definition: { maps, sets, rules: numbered }, elements };
}
