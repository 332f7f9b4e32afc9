/** A plan as text for operators, one change per line. */
import type { Change } from "../../lib/model/change.ts";

const signs = { add: "+", remove: "-", replace: "~", set: "=" } as const satisfies Record<
  Change["action"],
  string
>;

/** Yields lines, each with its newline. `total` also counts the changes that are not in `changes`. */
export function* planText(changes: readonly Change[], total: number): Generator<string> {
  if (total === 0) {
    yield "Nothing to change.\n";
    return;
  }
  for (const { action, subsystem, object, text } of changes) {
    const cause = object === undefined ? "" : `  # ${object}`;
    yield `${signs[action]} ${subsystem.padEnd(7)} ${text}${cause}\n`;
  }
  if (total > changes.length) yield `... and ${total - changes.length} more\n`;
  yield `${total} ${total === 1 ? "change" : "changes"}\n`;
}

/** True if `Accept` ranks text/plain above application/json. JSON wins a tie. */
export function prefersText(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  return qualityOf(accept, "text", "plain") > qualityOf(accept, "application", "json");
}

/** The quality of a media type by the most specific range (RFC 9110, 12.5.1). 0 if none matches. */
function qualityOf(accept: string, type: string, subtype: string): number {
  const qualities = new Map<string, number>();
  for (const range of accept.split(",")) {
    const [name = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const quality = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
    qualities.set(name, quality === undefined ? 1 : Number(quality) || 0);
  }
  return qualities.get(`${type}/${subtype}`) ?? qualities.get(`${type}/*`) ?? qualities.get("*/*") ?? 0;
}
