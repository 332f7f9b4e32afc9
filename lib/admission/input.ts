/** Checks a request beyond its schema, completely, before the state is considered. */

import { type Chunked, everyNth } from "../chunked.ts";
import { recordOf, type Spec, type SpecOf } from "../kinds/registry.ts";
import { GatewayError, type InputIssue } from "../model/errors.ts";
import { collectionOf, type Kind, kinds, type ObjectName } from "../model/names.ts";
import { gatewayIssues } from "./gateway.ts";
import { type Batch, type FullSet, specsIn } from "./requests.ts";

/** Maximum number of issues in one refusal. A faulty generator can cause thousands. */
export const maxIssues = 100;

/** Throws `invalid` if the spec is invalid. Pointers are relative to the body of a single write. */
export function checkSpec<K extends Kind>(kind: K, spec: SpecOf[K]): void {
  reject(recordOf(kind).issues(spec));
}

/** Throws `invalid` if an upsert is invalid, or if the upserts of one kind name an object twice. */
export function* checkBatch({ upsert = {} }: Batch): Chunked<void> {
  const issues: InputIssue[] = [];
  for (const kind of kinds) {
    yield* collect(issues, kind, specsIn(upsert, kind), `/upsert/${collectionOf(kind)}`);
  }
  reject(issues);
}

/** Throws `invalid` if an object or the gateway is invalid, or if one array names an object twice. */
export function* checkFullSet(set: FullSet): Chunked<void> {
  const issues: InputIssue[] = [];
  for (const issue of gatewayIssues(set.gateway ?? {})) issues.push(within("/gateway", issue));
  for (const kind of kinds) {
    yield* collect(issues, kind, specsIn(set, kind), `/${collectionOf(kind)}`);
  }
  reject(issues);
}

/** One object can have hundreds of backends. */
const checkedAtOnce = 500;

function* collect(issues: InputIssue[], kind: Kind, specs: readonly Spec[], pointer: string): Chunked<void> {
  const record = recordOf(kind);
  const seen = new Set<ObjectName>();
  const isDue = everyNth(checkedAtOnce);
  for (const [index, spec] of specs.entries()) {
    if (isDue()) yield;
    for (const issue of record.issues(spec)) issues.push(within(`${pointer}/${index}`, issue));
    if (seen.has(spec.name))
      issues.push({ pointer: `${pointer}/${index}/name`, message: `${spec.name} occurs twice` });
    seen.add(spec.name);
  }
}

function within(pointer: string, issue: InputIssue): InputIssue {
  return { pointer: `${pointer}${issue.pointer}`, message: issue.message };
}

function reject(issues: readonly InputIssue[]): void {
  const [first] = issues;
  if (first === undefined) return;
  throw new GatewayError("invalid", `${first.pointer}: ${first.message}`, {
    issues: issues.slice(0, maxIssues),
  });
}
