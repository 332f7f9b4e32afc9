/** Checks a write for clashes. Judges the resulting set, and only clashes that the write adds. */

import { type Chunked, everyNth } from "../chunked.ts";
import { type Claimants, findClashesChunked } from "../compile/clashes.ts";
import { usersOfChunked } from "../compile/references.ts";
import { type Clash, clashContext } from "../kinds/clash.ts";
import type { Facts } from "../kinds/facts.ts";
import { recordOf } from "../kinds/registry.ts";
import { GatewayError } from "../model/errors.ts";
import { type Kind, kinds, type ObjectId, type ObjectName } from "../model/names.ts";
import {
  type Desired,
  type DesiredObjects,
  findObject,
  makeObjects,
  type StoredOf,
} from "../state/desired.ts";
import { objectsWithChunked } from "./claimants.ts";
import type { Decision } from "./writes.ts";

/**
 * Throws `conflict` if the write leaves one of its own objects clashing, or makes another object clash. Clashes that a
 * full set brought earlier do not count. `details.object` names the first object in the way, `details.clashes` the
 * first 100 clashes.
 *
 * Only objects with identities that the write touches are checked; others cannot change.
 */
export function* rejectNewClashes(
  before: Desired,
  after: Desired,
  decision: Decision,
  facts: Facts,
): Chunked<void> {
  const ids = [...decision.touched, ...decision.removed];
  const identities = yield* identitiesOf(ids, [before, after], facts);
  const now = yield* findClashesChunked(yield* within(after, identities, facts), facts);
  if (now.size === 0) return;
  const earlier = yield* findClashesChunked(yield* within(before, identities, facts), facts);
  const written = new Set(decision.touched);
  const brought = [...now].filter(([id]) => written.has(id) || !earlier.has(id));
  const [first] = brought;
  if (first === undefined) return;
  const [id, clash] = first;
  throw new GatewayError("conflict", `${id}: ${clash.message}`, {
    details: {
      object: written.has(id) ? clash.with : id,
      clashes: brought.slice(0, 100).map(asDetail),
      clashesTotal: brought.length,
    },
  });
}

/** Throws `in-use` if `eips`, which are to be removed, have users in `desired`. `details.users` names the first 100. */
export function* rejectInUse(desired: DesiredObjects, eips: ReadonlySet<ObjectName>): Chunked<void> {
  const users = yield* usersOfChunked(desired, eips);
  if (users.length === 0) return;
  throw new GatewayError(
    "in-use",
    `eip ${[...eips].join(", ")} is used by ${users[0]}${andMore(users.length)}`,
    {
      details: { users: users.slice(0, 100), usersTotal: users.length },
    },
  );
}

/** The identities that a write touches, by kind. Objects can clash only over these. */
type Identities = ReadonlyMap<Kind, ReadonlySet<string>>;

/** Takes a few milliseconds. */
const lookedAtOnce = 2_000;

function* identitiesOf(
  ids: readonly ObjectId[],
  sets: readonly Desired[],
  facts: Facts,
): Chunked<Identities> {
  const isDue = everyNth(lookedAtOnce);
  const identities = new Map<Kind, Set<string>>();
  for (const set of sets) {
    const context = clashContext(set.gateway, facts);
    for (const id of ids) {
      if (isDue()) yield;
      const object = findObject(set, id);
      if (object === undefined) continue;
      const { kind, stored } = object;
      const record = recordOf(kind);
      const known = identities.get(kind) ?? new Set();
      identities.set(kind, known.add(record.identity(stored.spec, context)));
    }
  }
  return identities;
}

function* within(desired: Desired, identities: Identities, facts: Facts): Chunked<Claimants> {
  const context = clashContext(desired.gateway, facts);
  const found: Partial<Record<Kind, unknown>> = {};
  for (const kind of kinds) {
    const ids = identities.get(kind);
    found[kind] = ids === undefined ? new Map() : yield* objectsWithChunked(desired, kind, ids, context);
  }
  const objects = makeObjects(
    <K extends Kind>(kind: K) => found[kind] as ReadonlyMap<ObjectName, StoredOf[K]>,
  );
  return { gateway: desired.gateway, ...objects };
}

function asDetail([object, clash]: readonly [ObjectId, Clash]) {
  return { object, with: clash.with, message: clash.message };
}

function andMore(count: number): string {
  return count === 1 ? "" : ` and ${count - 1} more`;
}
