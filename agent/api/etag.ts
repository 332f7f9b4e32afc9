/** Entity tags: the store's revision as a strong tag, `"17"`. */
import type { IfMatch } from "../../lib/admission/writes.ts";
import { invalid } from "./validation.ts";

export function etagOf(revision: number): string {
  return `"${revision}"`;
}

const anyTag = /^(?:W\/)?"[\x21\x23-\x7e]*"$/;
const ownTag = /^"(0|[1-9][0-9]{0,15})"$/;

/**
 * Parses `If-Match` (RFC 9110, 13.1.1). Valid tags that are not ours, and weak tags, match nothing.
 *
 * @throws `invalid` if the header is malformed: it must not count as absent
 */
export function parseIfMatch(header: string | undefined): IfMatch | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === "*") return "*";
  const tags = header.split(",").map((part) => part.trim());
  if (!tags.every((tag) => anyTag.test(tag))) {
    throw invalid([{ pointer: "/headers/if-match", message: 'must be * or quoted tags such as "17"' }]);
  }
  return tags.flatMap((tag) => ownTag.exec(tag)?.[1] ?? []).map(Number);
}

/** Evaluates `If-None-Match` with the weak comparison, as for a GET. A malformed header matches nothing. */
export function isUnmodified(header: string | undefined, revision: number): boolean {
  if (header === undefined) return false;
  return header.split(",").some((part) => {
    const tag = part.trim().replace(/^W\//, "");
    return tag === "*" || tag === etagOf(revision);
  });
}
