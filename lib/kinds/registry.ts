/** The records of all kinds. A kind without a record does not compile. */
import type { Static } from "typebox";
import type { Chunked } from "../chunked.ts";
import type { Kind } from "../model/names.ts";
import { dnatKind } from "./dnat.ts";
import { eipKind } from "./eip.ts";
import { fipKind } from "./fip.ts";
import type { KindRecord, Parsed } from "./kind.ts";
import { limitKind } from "./limit.ts";
import { routeKind } from "./route.ts";
import { snatKind } from "./snat.ts";

const registry = {
  eip: eipKind,
  fip: fipKind,
  snat: snatKind,
  dnat: dnatKind,
  limit: limitKind,
  route: routeKind,
};
type Registry = typeof registry;

/** The spec of each kind, including `name` and `uid`. */
export type SpecOf = { readonly [K in Kind]: Readonly<Static<Registry[K]["schema"]>> };
export type Spec = SpecOf[Kind];

type ParsedBy<R> = R extends { parseAll(objects: never): Chunked<readonly (infer P)[]> } ? P : never;
type ParsedOf = { readonly [K in Kind]: ParsedBy<Registry[K]> & Parsed<SpecOf[K]> };

export type RecordOf<K extends Kind> = KindRecord<K, SpecOf[K], ParsedOf[K]>;

const records: { readonly [K in Kind]: RecordOf<K> } = registry;

export function recordOf<K extends Kind>(kind: K): RecordOf<K> {
  return records[kind];
}

/** The schemas with their static types. */
export const specSchemas: { readonly [K in Kind]: Registry[K]["schema"] } = {
  eip: eipKind.schema,
  fip: fipKind.schema,
  snat: snatKind.schema,
  dnat: dnatKind.schema,
  limit: limitKind.schema,
  route: routeKind.schema,
};
