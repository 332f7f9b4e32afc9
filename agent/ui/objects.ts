/** The objects that the page knows, and which of them it shows. */
import {
  type Collection,
  collectionOf,
  collections,
  type GatewayObject,
  idOf,
  type ObjectId,
} from "./types.ts";

export interface Filter {
  readonly collection: Collection | "all";
  readonly isOnlyNotReady: boolean;
  readonly text: string;
}

/** What an event changed. */
export type Transition = "new" | "ready" | "not ready" | "same";

const collator = new Intl.Collator("en", { numeric: true });

export class Objects {
  readonly #lists = new Map<Collection, Map<string, GatewayObject>>();
  /** Lists with new objects at their end. */
  readonly #unsorted = new Set<Collection>();
  readonly #searchTexts = new WeakMap<GatewayObject, string>();

  get(id: string): GatewayObject | undefined {
    const slash = id.indexOf("/");
    const collection = collections.find((one) => one === id.slice(0, slash));
    return collection === undefined ? undefined : this.#lists.get(collection)?.get(id.slice(slash + 1));
  }

  /** `undefined` before the list was read. */
  countOf(collection: Collection): number | undefined {
    return this.#lists.get(collection)?.size;
  }

  replace(collection: Collection, items: readonly GatewayObject[]): void {
    this.#lists.set(collection, new Map(items.map((item) => [item.name, item])));
    this.#unsorted.add(collection);
  }

  put(object: GatewayObject): Transition {
    const collection = collectionOf(object.kind);
    if (collection === undefined) return "same";
    const list = this.#lists.get(collection) ?? new Map<string, GatewayObject>();
    this.#lists.set(collection, list);
    const before = list.get(object.name);
    list.set(object.name, object);
    if (before === undefined) {
      this.#unsorted.add(collection);
      return "new";
    }
    if (before.status.ready === object.status.ready) return "same";
    return object.status.ready ? "ready" : "not ready";
  }

  /** @returns false if it was not known */
  remove(kind: string, name: string): boolean {
    const collection = collectionOf(kind);
    return collection !== undefined && this.#lists.get(collection)?.delete(name) === true;
  }

  /** The objects that refer to an Eip. */
  usersOf(eip: string): readonly GatewayObject[] {
    return collections.flatMap((collection) =>
      Array.from(this.#lists.get(collection)?.values() ?? []).filter(({ spec }) => spec.eip === eip),
    );
  }

  notReady(): readonly GatewayObject[] {
    return this.select({ collection: "all", isOnlyNotReady: true, text: "" });
  }

  /** Those that are not Ready come first; then by kind and name. All words of the text must occur. */
  select({ collection, isOnlyNotReady, text }: Filter): readonly GatewayObject[] {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const one of this.#unsorted) this.#sort(one);
    this.#unsorted.clear();
    const [faulty, good]: [GatewayObject[], GatewayObject[]] = [[], []];
    for (const [name, list] of this.#lists) {
      if (collection !== "all" && collection !== name) continue;
      for (const object of list.values()) {
        if (isOnlyNotReady && object.status.ready) continue;
        if (words.length > 0 && !words.every((word) => this.#searchText(object).includes(word))) continue;
        (object.status.ready ? good : faulty).push(object);
      }
    }
    return faulty.concat(good);
  }

  #sort(collection: Collection): void {
    const items = [...(this.#lists.get(collection)?.values() ?? [])];
    const sorted = items.sort((a, b) => collator.compare(a.name, b.name));
    this.#lists.set(collection, new Map(sorted.map((item) => [item.name, item])));
  }

  #searchText(object: GatewayObject): string {
    const known = this.#searchTexts.get(object);
    if (known !== undefined) return known;
    const { kind, name, spec } = object;
    const text = [kind, name, JSON.stringify(spec), whatOf(object), reasonOf(object).text]
      .join(" ")
      .toLowerCase();
    this.#searchTexts.set(object, text);
    return text;
  }
}

/** The condition Ready, as far as there is one. */
export function readyOf({ status }: GatewayObject) {
  return status.conditions.find(({ type }) => type === "Ready");
}

/** Why it is not Ready, and since when it is as it is. Nothing for what is simply Ready. */
export function reasonOf(object: GatewayObject): {
  readonly text: string;
  readonly since: string | undefined;
} {
  const ready = readyOf(object);
  if (ready === undefined) return { text: "", since: undefined };
  const { reason, message, lastTransitionTime: since } = ready;
  if (reason === "Ready") return { text: "", since };
  return { text: message === "" ? reason : `${reason}: ${message}`, since };
}

export function stateOf({ status, revision }: GatewayObject): "Ready" | "Not ready" | "Pending" {
  if (status.ready) return "Ready";
  return status.observedRevision < revision ? "Pending" : "Not ready";
}

/** An object in one line: what it translates. */
export function whatOf({ spec, kind }: GatewayObject): string {
  const field = (name: string) => (spec[name] === undefined ? "" : String(spec[name]));
  switch (kind) {
    case "Eip":
      return [field("address"), spec.bound === false && "not bound"].filter(Boolean).join(", ");
    case "Fip":
      return `${field("eip")} ↔ ${field("internalIp")}`;
    case "Snat":
      return `${field("internalCIDR")} → ${field("eip")}`;
    case "Dnat": {
      const { backends } = spec;
      const to = Array.isArray(backends)
        ? `${backends.length} backends${spec.sessionAffinity === "ClientIP" ? " by the client's address" : ""}`
        : `${field("internalIp")}:${field("internalPort")}`;
      return `${field("eip")} ${field("protocol")}/${field("externalPort")} → ${to}`;
    }
    case "Limit":
      return `${field("eip") || field("interface")} ${field("direction")} ${field("rateMbit")} Mbit/s`;
    case "Route":
      return `${field("destination")} via ${field("via")}`;
    default:
      return "";
  }
}

/** The Eip that an object refers to. */
export function eipOf({ kind, name, spec }: GatewayObject): ObjectId | undefined {
  if (kind === "Eip") return idOf({ kind, name });
  return typeof spec.eip === "string" ? `eips/${spec.eip}` : undefined;
}
