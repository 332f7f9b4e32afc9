/** What a file for `apply` and `diff` holds: a full set, or objects. */
import { type Collection, collections } from "../../lib/model/names.ts";
import { UsageFailure } from "./failures.ts";

type Spec = Readonly<Record<string, unknown>>;
type Specs = Readonly<Partial<Record<Collection, readonly Spec[]>>>;

/** A file with a `generation` replaces the whole set; any other adds to it. */
export type Manifest =
  | { readonly kind: "set"; readonly set: Spec; readonly generation: number; readonly specs: Specs }
  | { readonly kind: "objects"; readonly specs: Specs };

/** @throws UsageFailure for what is neither a set nor objects */
export function parseManifest(documents: readonly unknown[], file: string): Manifest {
  const [first] = documents;
  if (documents.length === 0) throw new UsageFailure(`${file}: nothing in it`);
  if (
    documents.length === 1 &&
    isRecord(first) &&
    first.kind === undefined &&
    typeof first.generation === "number"
  )
    return { kind: "set", set: first, generation: first.generation, specs: wholeListsIn(first, file) };
  const specs: Partial<Record<Collection, Spec[]>> = {};
  for (const document of documents) collect(document, specs, file);
  return { kind: "objects", specs };
}

/** What is not in a set is removed: a file that was cut short must not empty the gateway. */
const required = ["eips", "fips", "snats", "dnats", "routes"] as const satisfies readonly Collection[];

function wholeListsIn(set: Spec, file: string): Specs {
  const lists = listsIn(set, file);
  const missing = required.filter((collection) => lists[collection] === undefined);
  if (missing.length === 0) return lists;
  throw new UsageFailure(
    `${file}: a set with a generation replaces everything; it lacks ${missing.join(", ")}`,
    ["write an empty list for a kind without objects; without a generation the file only adds"],
  );
}

function collect(document: unknown, specs: Partial<Record<Collection, Spec[]>>, file: string): void {
  if (Array.isArray(document)) {
    for (const item of document) collect(item, specs, file);
  } else if (isRecord(document) && Array.isArray(document.items)) {
    for (const item of document.items) collect(item, specs, file);
  } else if (isRecord(document) && typeof document.kind === "string") {
    const collection = collections.find((one) => one === `${String(document.kind).toLowerCase()}s`);
    if (collection === undefined) throw new UsageFailure(`${file}: no kind ${document.kind}`);
    add(specs, collection, specOf(document));
  } else if (isRecord(document) && document.generation !== undefined) {
    throw new UsageFailure(`${file}: a set with a generation must be alone, and the generation a number`);
  } else if (isRecord(document) && collections.some((one) => document[one] !== undefined)) {
    for (const [collection, list] of Object.entries(listsIn(document, file)))
      for (const spec of list) add(specs, collection as Collection, spec);
  } else {
    throw new UsageFailure(`${file}: neither a set (eips, fips, ...) nor objects with a kind`);
  }
}

function add(specs: Partial<Record<Collection, Spec[]>>, collection: Collection, spec: Spec): void {
  const list = specs[collection];
  if (list === undefined) specs[collection] = [spec];
  else list.push(spec);
}

/** The arrays of a set. Its other members are the business of the agent, which knows whether they are right. */
function listsIn(set: Spec, file: string): Specs {
  const lists: Partial<Record<Collection, readonly Spec[]>> = {};
  for (const [name, list] of Object.entries(set)) {
    const collection = collections.find((one) => one === name);
    if (collection === undefined) {
      if (name === "generation" || name === "gateway") continue;
      throw new UsageFailure(`${file}: ${name} is not part of a set`);
    }
    if (!Array.isArray(list) || !list.every(isRecord))
      throw new UsageFailure(`${file}: ${name} must be a list of objects`);
    lists[collection] = list;
  }
  return lists;
}

/** Documents as `get` prints them have their fields in `spec`; others are flat. */
function specOf({ kind: _kind, spec, status: _status, revision: _revision, ...rest }: Spec): Spec {
  return isRecord(spec) ? { ...rest, ...spec } : rest;
}

function isRecord(value: unknown): value is Spec {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
