/**
 * Limits of one interface as classes of its HTB:
 *
 *     1:1    the interface's own limit, or none
 *     ├ rest     what has no class of its own, if the interface has a limit
 *     ├ network  a limit of a network
 *     ├ EIP      a limit of an EIP
 *     └ arriving a limit of what came in by one interface, with a rest, networks and EIPs of its own
 */
import type { Chunked } from "../../chunked.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { LimitTarget, Program } from "../../model/program.ts";
import { withPriority } from "../../nftables/qos.ts";
import { handleText, ownHandle } from "../../tc/handles.ts";
import { deviceMinor, minorsOf } from "./class-minors.ts";
import type { WantedClass, WantedElement, WantedRules } from "./parts.ts";
import { innerClass, type Limited, leafClass, queueBytes, restClass, unlimited } from "./rates.ts";
import { addressOfLimit, byPrecedence, oppositeOf, type PlacedLimit } from "./scopes.ts";

export interface Shaped extends WantedRules {
  readonly classes: readonly WantedClass[];
}

/** @param limits of the interface `name`, in order of creation */
export function* shapeDevice(
  name: InterfaceName,
  limits: readonly PlacedLimit[],
  program: Program,
): Chunked<Shaped> {
  const wholes = limits.filter(({ limit }) => limit.target.kind === "all");
  const tightest = tightestByArrival(wholes);
  const device = tightest.get(undefined);
  const arrivals = new Map(
    Array.from(tightest).flatMap(([from, one]) => (from === undefined ? [] : [[from, one]])),
  );
  const partial = limits.filter(({ limit }) => limit.target.kind !== "all");
  /** Packets of a limit that names no incoming interface come from the other side. */
  const arrivalOf = ({ in: from = oppositeOf(name, program) }: PlacedLimit) => arrivals.get(from);
  const minors = minorsOf([
    ...(device === undefined ? [] : [restKey()]),
    ...[...arrivals.keys()].flatMap((from) => [arrivalKey(from), restKey(from)]),
    ...partial.map((one) => keyOf(one, arrivalOf(one))),
  ]);
  yield;
  const minorOf = (key: string) => minors.get(key) ?? 0;
  const minorOfLimit = (one: PlacedLimit) => minorOf(keyOf(one, arrivalOf(one)));

  const top = device?.limit ?? { rate: unlimited };
  const below = (arrival: PlacedLimit | undefined) => partial.filter((one) => arrivalOf(one) === arrival);
  const isAssuredBelow = (limit: Limited, children: readonly PlacedLimit[]) =>
    children.reduce((sum, child) => sum + child.limit.rate, 0) <= limit.rate;
  const isAssured = isAssuredBelow(top, [...arrivals.values(), ...below(undefined)]);
  const leaves = (parent: number, children: readonly PlacedLimit[], isAssured: boolean) =>
    children.map((child) =>
      leaf(leafClass(minorOfLimit(child), parent, child.limit, isAssured), child.limit),
    );
  const classes: WantedClass[] = [
    inner(innerClass(deviceMinor, 0, top, true), device?.limit.id),
    ...(device === undefined ? [] : [leaf(restClass(minorOf(restKey()), deviceMinor, top), device.limit)]),
    ...leaves(deviceMinor, below(undefined), isAssured),
  ];
  for (const [from, arrival] of arrivals) {
    const minor = minorOf(arrivalKey(from));
    const children = below(arrival);
    classes.push(
      inner(innerClass(minor, deviceMinor, arrival.limit, isAssured), arrival.limit.id),
      leaf(restClass(minorOf(restKey(from)), minor, arrival.limit), arrival.limit),
      ...leaves(minor, children, isAssuredBelow(arrival.limit, children)),
    );
  }
  yield;
  const allPackets = (from: InterfaceName | undefined, key: string, { limit }: PlacedLimit) => ({
    out: name,
    in: from,
    address: undefined,
    priority: limit.priority,
    match: { network: undefined, verdict: { class: ownHandle(minorOf(key)) } },
  });
  return {
    classes,
    rules: [
      ...(device === undefined ? [] : [allPackets(undefined, restKey(), device)]),
      ...Array.from(arrivals, ([from, one]) => allPackets(from, restKey(from), one)),
      ...(yield* partialRules(partial, minorOfLimit)),
    ],
  };
}

/** A network of all addresses is the same as none, so there can be several limits of all packets. The lowest holds. */
function tightestByArrival(
  wholes: readonly PlacedLimit[],
): ReadonlyMap<InterfaceName | undefined, PlacedLimit> {
  const tightest = new Map<InterfaceName | undefined, PlacedLimit>();
  for (const one of wholes) {
    const known = tightest.get(one.in);
    if (known === undefined || one.limit.rate < known.limit.rate) tightest.set(one.in, one);
  }
  return tightest;
}

/** Limits of networks have a rule each. Limits of EIPs share a map, unless a network comes between them. */
function* partialRules(
  partial: readonly PlacedLimit[],
  minorOf: (one: PlacedLimit) => number,
): Chunked<WantedRules["rules"]> {
  const rules: WantedRules["rules"][number][] = [];
  let maps = new Map<InterfaceName | undefined, Map<string, WantedElement>>();
  for (const one of yield* byPrecedence(partial)) {
    const { limit, out, in: from } = one;
    const handle = ownHandle(minorOf(one));
    const rule = { out, in: from, address: addressOfLimit(one) };
    if (limit.target.kind === "network") {
      maps = new Map();
      const match = { network: limit.target.cidr, verdict: { class: handle } };
      rules.push({ ...rule, priority: limit.priority, match });
    } else if (limit.target.kind === "eip") {
      const elements = maps.get(from) ?? new Map<string, WantedElement>();
      if (!maps.has(from)) {
        maps.set(from, elements);
        rules.push({ ...rule, match: { kind: "map", elements } });
      }
      const value = withPriority(handleText(handle), limit.priority);
      elements.set(limit.target.eip, { value, object: limit.id });
    }
  }
  return rules;
}

function inner(wanted: WantedClass["class"], object: ObjectId | undefined): WantedClass {
  return { class: wanted, queueBytes: undefined, object };
}

function leaf(wanted: WantedClass["class"], limit: PlacedLimit["limit"]): WantedClass {
  return { class: wanted, queueBytes: queueBytes(limit), object: limit.id };
}

function restKey(from?: InterfaceName): string {
  return `rest ${from ?? ""}`;
}

function arrivalKey(from: InterfaceName): string {
  return `from ${from}`;
}

function keyOf({ limit: { target }, in: from }: PlacedLimit, parent: PlacedLimit | undefined): string {
  return classKey(target, from, parent?.in);
}

/**
 * What the number of a limit's class is made of. With another parent a limit gets another class: its packets change over
 * in one transaction, and none is lost.
 *
 * @param below the incoming interface whose class is the parent
 */
export function classKey(
  target: LimitTarget,
  from: InterfaceName | undefined,
  parent: InterfaceName | undefined,
): string {
  const below = parent ?? "";
  if (target.kind === "eip") return `eip ${target.eip} ${from ?? ""} ${below}`;
  return target.kind === "network" ? `network ${target.side} ${target.cidr} ${from ?? ""} ${below}` : "";
}
