/**
 * The store of a gateway, written a second time as plain maps: which writes are accepted, with which status, and what is
 * stored afterwards. Written from the documentation; it imports nothing of the agent.
 */
import { clashesOf, type Kind, kinds, type Spec } from "./clashes.ts";

export type Named = readonly [kind: Kind, spec: Spec];

export interface Entry {
  readonly spec: Spec;
  /** Lower is older. */
  readonly creation: number;
}

/** `current` and `old` name a revision: the store's, or the one before it. */
export type IfMatch = "current" | "old" | "*";

interface Options {
  readonly ifMatch?: IfMatch;
  readonly isDryRun?: boolean;
  readonly isWaiting?: boolean;
}

export type Write = Options &
  (
    | { readonly do: "put"; readonly kind: Kind; readonly spec: Spec }
    | {
        readonly do: "delete";
        readonly kind: Kind;
        readonly name: string;
        readonly uid?: string;
        readonly isCascading?: boolean;
      }
    | {
        readonly do: "batch";
        readonly upsert: readonly Named[];
        readonly remove: readonly (readonly [Kind, string])[];
      }
    | {
        readonly do: "set";
        readonly generation: number;
        readonly defaultGateway: string;
        readonly objects: readonly Named[];
      }
    | { readonly do: "renew"; readonly names: readonly string[] }
  );

/** Between when a request was sent and when its answer came, in ms of the monotonic clock. */
export interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Refusal {
  readonly status: number;
  readonly code: string;
}

/** `status` and `code` if the write is refused. */
export interface Outcome extends Partial<Refusal> {
  /** True if the stored set changes, `undefined` if that depends on a lease that may have expired just then. */
  readonly isChanged: boolean | undefined;
  /** True for a full set that was accepted before. */
  readonly isReplay: boolean;
  readonly touched: readonly string[];
}

/** The clocks of the agent and of the test may be read this far apart. */
const marginMs = 50;

class Refused extends Error {
  readonly outcome: Outcome;

  constructor(status: number, code: string) {
    super(code);
    this.outcome = { status, code, isChanged: false, isReplay: false, touched: [] };
  }
}

export class Model {
  objects = new Map<Kind, Map<string, Entry>>(kinds.map((kind) => [kind, new Map()]));
  defaultGateway = "";
  generation = 0;
  lastSet = "";
  revision = 0;
  /** `fip/uid` of what was deleted. */
  gone = new Set<string>();
  renewed = new Map<string, Window>();
  #nextCreation = 1;

  clone(): Model {
    const copy = new Model();
    copy.objects = new Map([...this.objects].map(([kind, entries]) => [kind, new Map(entries)]));
    copy.defaultGateway = this.defaultGateway;
    copy.generation = this.generation;
    copy.lastSet = this.lastSet;
    copy.revision = this.revision;
    copy.gone = new Set(this.gone);
    copy.renewed = new Map(this.renewed);
    copy.#nextCreation = this.#nextCreation;
    return copy;
  }

  of(kind: Kind): Map<string, Entry> {
    return this.objects.get(kind) ?? new Map();
  }

  /** Oldest first. */
  byAge(kind: Kind): readonly Spec[] {
    return [...this.of(kind).values()].toSorted((a, b) => a.creation - b.creation).map(({ spec }) => spec);
  }

  /** The objects that name the Eip. */
  usersOf(eip: string): readonly (readonly [Kind, string])[] {
    return kinds.flatMap((kind) =>
      this.byAge(kind).flatMap((spec) => (spec.eip === eip ? [[kind, spec.name] as const] : [])),
    );
  }

  /** Whether the Eip's lease has expired in the window. `undefined`: perhaps. */
  isExpired(eip: string, { fromMs, toMs }: Window): boolean | undefined {
    const seconds = this.of("eip").get(eip)?.spec.leaseSeconds;
    const renewed = this.renewed.get(eip);
    if (typeof seconds !== "number" || renewed === undefined) return false;
    if (fromMs > renewed.toMs + seconds * 1000 + marginMs) return true;
    return toMs < renewed.fromMs + seconds * 1000 - marginMs ? false : undefined;
  }

  /** What the write answers. Changes this model unless it is refused or a dry run. */
  apply(write: Write, window: Window): Outcome {
    const draft = new Draft(this, window);
    try {
      const outcome = draft.decide(write);
      if (write.isDryRun !== true) {
        Object.assign(this, draft.model);
        this.#nextCreation = draft.model.#nextCreation;
      }
      return outcome;
    } catch (error) {
      if (error instanceof Refused) return error.outcome;
      throw error;
    }
  }

  nextCreation(): number {
    return this.#nextCreation++;
  }
}

/** One write on a copy of the model. */
class Draft {
  readonly model: Model;
  readonly #before: Model;
  readonly #window: Window;
  readonly #ended = new Set<string>();
  readonly #living = new Set<string>();
  readonly #touched: string[] = [];
  #isChanged: boolean | undefined = false;

  constructor(before: Model, window: Window) {
    this.#before = before;
    this.model = before.clone();
    this.#window = window;
  }

  decide(write: Write): Outcome {
    const rest = write.do === "set" ? { isReplay: this.#set(write) } : this.#change(write);
    for (const uid of this.#ended) if (!this.#living.has(uid)) this.model.gone.add(uid);
    if (this.#isChanged === true) this.model.revision += 1;
    return { isReplay: false, ...rest, isChanged: this.#isChanged, touched: this.#touched };
  }

  #change(write: Exclude<Write, { readonly do: "set" }>): Refusal | undefined {
    if (write.ifMatch === "old") throw new Refused(412, "precondition-failed");
    if (write.do === "renew") return this.#renewAll(write.names);
    if (write.do === "delete") return this.#delete(write);
    if (write.do === "put") this.#upsert([[write.kind, write.spec]]);
    else this.#batch(write);
    return undefined;
  }

  /** Those that exist are renewed, whatever the answer. */
  #renewAll(names: readonly string[]): Refusal | undefined {
    const known = names.filter((name) => this.model.of("eip").has(name));
    for (const name of known) this.#renew(name);
    return known.length < names.length ? { status: 404, code: "not-found" } : undefined;
  }

  #set({ generation, defaultGateway, objects, ifMatch }: Write & { readonly do: "set" }): boolean {
    const { model } = this;
    const text = contentOf(generation, defaultGateway, objects);
    if (text === model.lastSet) {
      for (const [kind, { name }] of objects) {
        if (!model.of(kind).has(name)) continue;
        this.#touched.push(`${kind}s/${name}`);
        if (kind === "eip") this.#renew(name);
      }
      return true;
    }
    if (ifMatch === "old") throw new Refused(412, "precondition-failed");
    if (ifMatch !== "current") {
      if (generation <= model.generation) throw new Refused(409, "stale-generation");
      if (objects.some(([kind, { uid }]) => this.#isGone(kind, uid))) throw new Refused(410, "gone");
    }
    for (const [kind, { uid }] of objects) model.gone.delete(`${kind}/${uid}`);
    const kept = new Set(objects.map(([kind, { name }]) => `${kind}/${name}`));
    for (const kind of kinds)
      for (const name of [...model.of(kind).keys()])
        if (!kept.has(`${kind}/${name}`)) this.#remove(kind, name);
    for (const kind of kinds) for (const [one, spec] of objects) if (one === kind) this.#put(kind, spec);
    model.defaultGateway = defaultGateway;
    model.generation = generation;
    model.lastSet = text;
    this.#isChanged = true;
    return false;
  }

  /** A uid is remembered as deleted even if no object has it. */
  #delete({ kind, name, uid, isCascading = false }: Write & { readonly do: "delete" }): Refusal | undefined {
    const stored = this.model.of(kind).get(name);
    if (stored === undefined || (uid !== undefined && stored.spec.uid !== uid)) {
      if (uid !== undefined) this.#ended.add(`${kind}/${uid}`);
      return stored === undefined ? { status: 404, code: "not-found" } : { status: 409, code: "conflict" };
    }
    const users = kind === "eip" ? this.model.usersOf(name) : [];
    if (users.length > 0 && !isCascading) throw new Refused(409, "in-use");
    for (const [user, userName] of users) this.#remove(user, userName);
    this.#remove(kind, name);
    return undefined;
  }

  #batch({ upsert, remove }: Write & { readonly do: "batch" }): void {
    const removed = remove.filter(([kind, name]) => this.model.of(kind).has(name));
    for (const [kind, name] of removed) this.#remove(kind, name);
    const eips = removed.flatMap(([kind, name]) => (kind === "eip" ? [name] : []));
    this.#upsert(upsert, eips);
  }

  #upsert(objects: readonly Named[], removedEips: readonly string[] = []): void {
    if (objects.some(([kind, { uid }]) => this.#isGone(kind, uid))) throw new Refused(410, "gone");
    for (const kind of kinds) for (const [one, spec] of objects) if (one === kind) this.#put(kind, spec);
    const { model } = this;
    const isUsed = (eip: string) => !model.of("eip").has(eip) && model.usersOf(eip).length > 0;
    if (removedEips.some(isUsed)) throw new Refused(409, "in-use");
    const earlier = clashesOf(this.#before);
    for (const id of clashesOf(model))
      if (this.#touched.includes(id) || !earlier.has(id)) throw new Refused(409, "conflict");
  }

  #put(kind: Kind, spec: Spec): void {
    const entries = this.model.of(kind);
    const stored = entries.get(spec.name);
    this.#touched.push(`${kind}s/${spec.name}`);
    if (spec.uid !== undefined) this.#living.add(`${kind}/${spec.uid}`);
    // Before the lease: an expired one is judged by what was stored.
    if (spec.leaseSeconds !== undefined) this.#renew(spec.name);
    const old = stored?.spec.uid;
    if (old !== undefined && spec.uid !== undefined && spec.uid !== old) this.#ended.add(`${kind}/${old}`);
    const next = old === undefined || spec.uid !== undefined ? spec : { ...spec, uid: old };
    if (stored !== undefined && textOf(stored.spec) === textOf(next)) return;
    entries.set(spec.name, { spec: next, creation: stored?.creation ?? this.model.nextCreation() });
    this.#isChanged = true;
  }

  #remove(kind: Kind, name: string): void {
    const uid = this.model.of(kind).get(name)?.spec.uid;
    if (uid !== undefined) this.#ended.add(`${kind}/${uid}`);
    this.model.of(kind).delete(name);
    if (kind === "eip") this.model.renewed.delete(name);
    this.#isChanged = true;
  }

  #renew(name: string): void {
    const isExpired = this.#before.isExpired(name, this.#window);
    if (isExpired !== false && this.#isChanged !== true) this.#isChanged = isExpired;
    this.model.renewed.set(name, this.#window);
  }

  #isGone(kind: Kind, uid: string | undefined): boolean {
    const key = `${kind}/${uid}`;
    return uid !== undefined && (this.model.gone.has(key) || this.#ended.has(key));
  }
}

function contentOf(generation: number, gateway: string, objects: readonly Named[]): string {
  const lines = objects.map(([kind, spec]) => `${kind} ${textOf(spec)}`);
  return [generation, gateway, ...lines.toSorted()].join("\n");
}

/** Independent of the order of the fields. */
export function textOf(spec: object): string {
  return JSON.stringify(Object.fromEntries(Object.entries(spec).toSorted(([a], [b]) => (a < b ? -1 : 1))));
}
