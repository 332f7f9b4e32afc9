/** Entity tags: the store's revision as a strong tag, `"17"`. */
import type { IncomingHttpHeaders } from "node:http";
import type { IfMatch, Preconditions } from "../../lib/admission/writes.ts";
import { invalid } from "./validation.ts";

export function etagOf(revision: number): string {
  return `"${revision}"`;
}

const anyTag = /^(?:W\/)?"[\x21\x23-\x7e]*"$/;
const ownTag = /^"(0|[1-9][0-9]{0,15})"$/;

/**
 * Parses `If-Match` (RFC 9110, 13.1.1). Valid tags that are not ours, and weak tags, match nothing.
 *
 * @throws `invalid` if it is malformed, or if there is an `If-None-Match`, too: neither must count as absent
 */
export function parseIfMatch(headers: IncomingHttpHeaders): IfMatch | undefined {
  if (headers["if-none-match"] !== undefined)
    throw invalid([
      { pointer: "/headers/if-none-match", message: "is for reads, and for a PUT of one object" },
    ]);
  return parseTags(headers["if-match"], "/headers/if-match");
}

/** Parses `If-Match` and `If-None-Match` (RFC 9110, 13.1.2), which compares weakly. @throws `invalid` as above */
export function parsePreconditions(headers: IncomingHttpHeaders): Preconditions {
  const weak = headers["if-none-match"]?.replaceAll(/(^|,)\s*W\//g, "$1");
  return {
    ifMatch: parseTags(headers["if-match"], "/headers/if-match"),
    ifNoneMatch: parseTags(weak, "/headers/if-none-match"),
  };
}

function parseTags(header: string | undefined, pointer: string): IfMatch | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === "*") return "*";
  const tags = header.split(",").map((part) => part.trim());
  if (!tags.every((tag) => anyTag.test(tag)))
    throw invalid([{ pointer, message: 'must be * or quoted tags such as "17"' }]);
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
