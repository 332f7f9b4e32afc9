/** Lists, then every change of the objects listed: no change in between is missed. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Absence } from "./absence.ts";
import type { Api } from "./api.ts";
import type { ObjectDocument, ObjectList } from "./documents.ts";
import { type EventDocument, readEvents } from "./events.ts";
import { RefusedFailure, UnavailableFailure } from "./failures.ts";

/** What a watch sees: an object as it is now, or that it is gone. */
export type Sight =
  | { readonly kind: "object"; readonly object: ObjectDocument }
  | { readonly kind: "deleted"; readonly object: Pick<ObjectDocument, "kind" | "name" | "revision"> };

const retryMs = 1_000;

/**
 * Yields every object first, then changes. Ends only with its consumer: it connects again after the agent was away, and lists again
 * where events are missing.
 *
 * @param kinds in the singular, such as `fip`
 */
export async function* watchObjects(
  api: Api,
  kinds: readonly string[],
  name: string | undefined,
  absence: Absence,
): AsyncGenerator<Sight> {
  let since: string | undefined;
  const known = new Set<string>();
  for (;;) {
    if (since === undefined) {
      const listed = await list(api, kinds, name);
      since = listed.eventId;
      const present = new Set<string>();
      for (const object of listed.items) {
        present.add(keyOf(object));
        yield { kind: "object", object };
      }
      for (const key of known.difference(present)) {
        const [kind = "", gone = ""] = key.split("/");
        yield { kind: "deleted", object: { kind, name: gone, revision: 0 } };
      }
      known.clear();
      for (const key of present) known.add(key);
    }
    try {
      const query = { kind: kinds.join(","), type: "object", since, ...(name !== undefined && { name }) };
      for await (const event of readEvents(api, query, new AbortController().signal)) {
        absence.end();
        if (event.type === "resync") {
          since = undefined;
          break;
        }
        since = event.id ?? since;
        if (event.type !== "object") continue;
        const sight = sightOf(event as EventDocument);
        if (sight.kind === "object") known.add(keyOf(sight.object));
        else known.delete(keyOf(sight.object));
        yield sight;
      }
    } catch (error) {
      if (!(error instanceof UnavailableFailure)) throw error;
      absence.tell(error);
    }
    await sleep(since === undefined ? 0 : retryMs);
  }
}

async function list(
  api: Api,
  kinds: readonly string[],
  name: string | undefined,
): Promise<{ readonly items: readonly ObjectDocument[]; readonly eventId: string }> {
  const items: ObjectDocument[] = [];
  let eventId: string | undefined;
  for (const kind of kinds) {
    const listed = await api.get<ObjectList>(`/v1/${kind}s`);
    // The first one: what changed while the others were read comes again.
    eventId ??= listed.eventId;
    items.push(...listed.items.filter((item) => name === undefined || item.name === name));
  }
  if (eventId === undefined)
    throw new RefusedFailure(404, {
      detail: "the agent does not serve GET /v1/events: it is older than this natgwctl",
    });
  return { items, eventId };
}

function sightOf(event: EventDocument): Sight {
  const { id: _id, type: _type, deleted, ...object } = event;
  return { kind: deleted === true ? "deleted" : "object", object: object as unknown as ObjectDocument };
}

function keyOf({ kind, name }: Pick<ObjectDocument, "kind" | "name">): string {
  return `${kind}/${name}`;
}
