/** What a reading of the kernel after the last write proves, object by object: the input of the judge. */
import type { Flow } from "../../../lib/conntrack/flow.ts";
import { isSameMap } from "../../../lib/memoize.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Program } from "../../../lib/model/program.ts";
import type { Evidence } from "../../../lib/plan/judge.ts";
import { routeText } from "../../../lib/plan/network/routes.ts";
import { isForwarding } from "../../../lib/plan/network/sysctls.ts";
import type { OldDataplane as Dataplane } from "../../kernel/old-dataplane.ts";
import type { ThrottledRepair } from "../retry/repair-throttle.ts";
import type { Refusal } from "./failures.ts";
import type { Outlook, Seen } from "./outlook.ts";

/** What is known besides what was read. */
export interface Testimony {
  /** Why something is missing, where the kernel said so: its words are shown instead of ours. */
  readonly refusals: readonly Refusal[];
  /** Why, where somebody undoes it again and again. */
  readonly fights: readonly ThrottledRepair[];
  /** Flows that contradict the program and could not be ended. */
  readonly remaining: readonly Flow[];
  /** Objects whose flows could not be looked at since they were changed, with why. */
  readonly unswept: ReadonlyMap<ObjectId, string>;
  /** Who else claims an address that is held here: the MAC. */
  readonly conflicts: ReadonlyMap<Ipv4, string>;
}

/** @param residual what planning on `seen` still asks for */
export function gatherEvidence(
  dataplane: Dataplane,
  seen: Seen,
  residual: Outlook,
  { refusals, fights, remaining, unswept, conflicts }: Testimony,
): Evidence {
  const { program } = residual.compiled;
  const missing = new Map(dataplane.missing(program, seen.rules));
  const lacks = (object: ObjectId | undefined, words: string) => {
    if (object !== undefined) missing.set(object, words);
  };
  for (const { object, entry } of residual.addresses.add)
    lacks(object, `${entry.address} is not on ${entry.interface}`);
  for (const step of residual.routes.steps) {
    if (step.kind !== "remove") lacks(step.object, `there is no route ${routeText(step.route)}`);
  }
  for (const { object, message } of residual.addresses.blocked) lacks(object, message);
  for (const { object, message } of residual.routes.blocked) lacks(object, message);
  for (const { object, message } of refusals)
    if (object !== undefined && missing.has(object)) lacks(object, message);
  for (const { change, repairs } of fights) {
    if (change.object !== undefined && missing.has(change.object))
      lacks(change.object, `somebody undid it ${repairs} times: ${change.text}`);
  }
  return {
    missing,
    contested: contested(program, conflicts),
    contradicted: new Map([...unswept, ...contradicted(program, remaining)]),
    isForwarding: isForwarding(program, seen.network),
    isHeldBack: dataplane.isGateClosed(seen.rules),
  };
}

/** True where both prove the same. */
export function isSameEvidence(one: Evidence, other: Evidence): boolean {
  return (
    one.isForwarding === other.isForwarding &&
    one.isHeldBack === other.isHeldBack &&
    isSameMap(one.missing, other.missing) &&
    isSameMap(one.contested, other.contested) &&
    isSameMap(one.contradicted, other.contradicted)
  );
}

function contested({ eips }: Program, conflicts: ReadonlyMap<Ipv4, string>): ReadonlyMap<ObjectId, string> {
  if (conflicts.size === 0) return new Map();
  return new Map(
    eips.flatMap(({ id, address }) => {
      const mac = conflicts.get(address);
      return mac === undefined ? [] : [[id, `${mac} claims ${address} too`] as const];
    }),
  );
}

/** Blames the objects whose EIP or internal IP a remaining flow names. */
function contradicted(program: Program, flows: readonly Flow[]): ReadonlyMap<ObjectId, string> {
  const blamed = new Map<ObjectId, string>();
  if (flows.length === 0) return blamed;
  const counts = new Map<Ipv4, number>();
  for (const { original, reply } of flows) {
    for (const ip of new Set([original.source, original.destination, reply.source, reply.destination])) {
      counts.set(ip, (counts.get(ip) ?? 0) + 1);
    }
  }
  const blame = (id: ObjectId, ...ips: readonly Ipv4[]) => {
    const count = Math.max(...ips.map((ip) => counts.get(ip) ?? 0));
    if (count > 0) blamed.set(id, `${count} live flows contradict it and could not be ended`);
  };
  for (const { id, eip, internalIp } of program.fips) blame(id, eip, internalIp);
  for (const { id, eip, backends } of program.dnats) blame(id, eip, ...backends.map(({ ip }) => ip));
  for (const { members } of program.pools) for (const { id, eip } of members) blame(id, eip);
  return blamed;
}
