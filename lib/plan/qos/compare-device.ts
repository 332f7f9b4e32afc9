/** Compares the qdiscs and classes of one device with what they should be. */
import { type Chunked, everyNth } from "../../chunked.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { HtbClass } from "../../tc/htb-class.ts";
import { isSameClass, type ObservedDevice, queueText } from "./observed.ts";
import type { WantedClass } from "./parts.ts";
import type { QosStep } from "./steps.ts";

export interface DeviceDifference {
  /** In this order, before packets are put into the classes. */
  readonly build: readonly QosStep[];
  /** Once no packet is put into them any more. Children before their parents. */
  readonly remove: readonly QosStep[];
}

/** Takes a few milliseconds. */
const comparedAtOnce = 1_000;

/** @param wanted parents before their children */
export function* compareDevice(
  device: InterfaceName,
  wanted: readonly WantedClass[],
  { root, classes, queues }: ObservedDevice,
): Chunked<DeviceDifference> {
  const isDue = everyNth(comparedAtOnce);
  const build: QosStep[] = root === "script" ? [{ kind: "release", device, what: "root" }] : [];
  if (root !== "ours") build.push({ kind: "root", device });
  const step = (action: "add" | "change" | "remove", held: HtbClass, object?: WantedClass["object"]) =>
    ({ kind: "class", device, action, class: held, object }) as const;
  const misplaced = misplacedOf(wanted, classes);
  build.push(...deepestFirst(misplaced, classes).map((one) => step("remove", one)));
  for (const { class: one, queueBytes, object } of wanted) {
    if (isDue()) yield;
    const held = misplaced.has(one.minor) ? undefined : classes.get(one.minor);
    if (held === undefined) build.push(step("add", one, object));
    else if (!isSameClass(one, held)) build.push(step("change", one, object));
    if (queueBytes === undefined) continue;
    const queue = held === undefined ? undefined : queues.get(one.minor);
    if (queue !== "fq_codel" && queue !== queueText("bfifo", queueBytes))
      build.push({ kind: "queue", device, minor: one.minor, limitBytes: queueBytes, object });
  }
  const kept = new Set(wanted.map(({ class: { minor } }) => minor));
  const gone = new Set(classes.keys().filter((minor) => !kept.has(minor) && !misplaced.has(minor)));
  return { build, remove: deepestFirst(gone, classes).map((one) => step("remove", one)) };
}

/** A class cannot change its parent. It is made again, and so is everything below it. */
function misplacedOf(
  wanted: readonly WantedClass[],
  classes: ReadonlyMap<number, HtbClass>,
): ReadonlySet<number> {
  const misplaced = new Set<number>();
  for (const { class: one } of wanted) {
    const held = classes.get(one.minor);
    if (held !== undefined && held.parent !== one.parent) misplaced.add(one.minor);
  }
  if (misplaced.size === 0) return misplaced;
  for (const { minor } of classes.values())
    if (ancestorsOf(minor, classes).some((above) => misplaced.has(above))) misplaced.add(minor);
  return misplaced;
}

function deepestFirst(
  minors: ReadonlySet<number>,
  classes: ReadonlyMap<number, HtbClass>,
): readonly HtbClass[] {
  return Array.from(minors, (minor) => ({ minor, depth: ancestorsOf(minor, classes).length }))
    .sort((one, other) => other.depth - one.depth || one.minor - other.minor)
    .flatMap(({ minor }) => classes.get(minor) ?? []);
}

/** HTB has at most eight levels. */
const maxDepth = 8;

function ancestorsOf(minor: number, classes: ReadonlyMap<number, HtbClass>): readonly number[] {
  const above: number[] = [];
  let at = classes.get(minor)?.parent ?? 0;
  for (; at !== 0 && above.length < maxDepth; at = classes.get(at)?.parent ?? 0) above.push(at);
  return above;
}
