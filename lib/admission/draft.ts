/** Collects the changes of one write. Each function of `lib/admission/` fills one draft and finishes it. */

import { recordOf, type Spec } from "../kinds/registry.ts";
import type { GatewayError } from "../model/errors.ts";
import { type Kind, type ObjectId, type ObjectName, objectId, type Uid } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";
import { objectsOf } from "../state/desired.ts";
import type { State, StateChange } from "../state/state.ts";
import { isSameSpec } from "./canonical.ts";
import { isSameGateway } from "./gateway.ts";
import { isLeaseExpired } from "./leases.ts";
import { isGone, remember, tombstoneKey } from "./uids.ts";
import type { Decision, WriteContext } from "./writes.ts";

/**
 * A write under construction.
 *
 * Unchanged objects are not written: an identical PUT keeps the object's revision and so stays Ready. A write without
 * any change does not raise the revision. A lease renewal is recorded without a new revision, unless it revives an Eip,
 * because then there is something to program.
 */
export class WriteDraft {
  readonly #state: State;
  readonly #context: Pick<WriteContext, "now">;
  readonly #revision: number;
  readonly #changes: StateChange[] = [];
  readonly #touched: ObjectId[] = [];
  readonly #removed = new Set<ObjectId>();
  /** Uids, as tombstone keys, that this write deleted, and those that it wrote. */
  readonly #ended = new Set<string>();
  readonly #living = new Set<string>();
  #nextCreation: number;
  #isChanged = false;

  constructor(state: State, context: Pick<WriteContext, "now">) {
    this.#state = state;
    this.#context = context;
    this.#nextCreation = state.nextCreation;
    this.#revision = state.desired.revision + 1;
  }

  /**
   * Creates or replaces an object. After a removal in the same draft it creates a new object.
   *
   * A spec without a uid keeps the stored uid: a caller that does not use uids edits the object and does not replace
   * it.
   *
   * @param spec in canonical form
   */
  put(kind: Kind, spec: Spec): void {
    const id = objectId(kind, spec.name);
    const stored = this.#removed.delete(id) ? undefined : this.#stored(kind, spec.name);
    this.#touched.push(id);
    if (spec.uid !== undefined) this.#living.add(tombstoneKey(kind, spec.uid));
    if (stored === undefined) this.#write(kind, spec, this.#nextCreation++);
    else this.#replace(kind, spec, stored);
    if (recordOf(kind).leaseSeconds?.(spec) !== undefined) this.renew(spec.name);
  }

  /** Removes a stored object and remembers its uid as deleted. */
  remove(kind: Kind, name: ObjectName): void {
    const uid = this.#stored(kind, name)?.spec.uid;
    if (uid !== undefined) this.remember(kind, uid);
    this.#removed.add(objectId(kind, name));
    this.record({ type: "delete", kind, name });
  }

  /** Counts a stored object as written although nothing of it changes. */
  touch(kind: Kind, name: ObjectName): void {
    this.#touched.push(objectId(kind, name));
  }

  /** Remembers a uid as deleted. This alone does not change the desired set. */
  remember(kind: Kind, uid: Uid): void {
    this.#ended.add(tombstoneKey(kind, uid));
  }

  /** True if this write or an earlier one deleted the uid. */
  isGone(kind: Kind, uid: Uid | undefined): boolean {
    if (uid === undefined) return false;
    return this.#ended.has(tombstoneKey(kind, uid)) || isGone(this.#state, kind, uid, this.#context.now);
  }

  /** Records a lease renewal for an Eip. */
  renew(name: ObjectName): void {
    this.#changes.push({ type: "lease", name, renewed: this.#context.now });
    if (isLeaseExpired(this.#state, name, this.#context.now)) this.#isChanged = true;
  }

  setGateway(gateway: Gateway): void {
    if (!isSameGateway(gateway, this.#state.desired.gateway)) this.record({ type: "gateway", gateway });
  }

  /** Makes an unset store set, also if it stays empty. */
  markSet(): void {
    if (!this.#state.isSet) this.#isChanged = true;
  }

  /** Records a change that needs a new revision. */
  record(change: StateChange): void {
    this.#changes.push(change);
    this.#isChanged = true;
  }

  /** The decision. If there are changes, the last one sets the new revision. */
  finish(outcome: { readonly isReplay?: boolean; readonly refusal?: GatewayError } = {}): Decision {
    const { now } = this.#context;
    const ended = [...this.#ended.difference(this.#living)];
    const isWrite = this.#changes.length > 0 || ended.length > 0;
    const changes = [
      ...this.#changes,
      ...(isWrite ? remember(this.#state, ended, now) : []),
      ...(this.#isChanged ? [{ type: "revision", revision: this.#revision } as const] : []),
    ];
    return { changes, touched: this.#touched, removed: [...this.#removed], isReplay: false, ...outcome };
  }

  #replace(kind: Kind, spec: Spec, stored: Stored<Spec>): void {
    const { uid } = stored.spec;
    if (uid !== undefined && spec.uid !== undefined && spec.uid !== uid) this.remember(kind, uid);
    const next =
      uid === undefined || spec.uid !== undefined ? spec : recordOf(kind).canonical({ ...spec, uid });
    if (!isSameSpec(next, stored.spec)) this.#write(kind, next, stored.creation);
  }

  #write(kind: Kind, spec: Spec, creation: number): void {
    this.record({ type: "put", kind, object: { spec, revision: this.#revision, creation } });
  }

  #stored(kind: Kind, name: ObjectName): Stored<Spec> | undefined {
    return objectsOf(this.#state.desired, kind).get(name);
  }
}
