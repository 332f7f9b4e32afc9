/** A controller: keeps the Eips and Fips of one gateway as a file wants them. docs/controller.md explains it. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual, parseArgs } from "node:util";
import {
  type Client,
  ConnectionError,
  connect,
  type Refusal,
  type Schema,
} from "../../../agent/client/client.ts";

/** In place of a file, a real controller has the custom resources of its cluster, with their uids. */
interface Wanted {
  readonly eips: readonly Schema<"EipEntry">[];
  readonly fips: readonly Schema<"FipEntry">[];
}

interface Write {
  readonly id: string;
  /** Sends it, if nobody wrote since `revision`. */
  send(revision: number): Promise<{ readonly ok: true; readonly revision?: number } | Refusal>;
}

const busySeconds = 5;

/** One round. Returns after how many seconds the next one is due. */
async function reconcile(client: Client, wanted: Wanted): Promise<number> {
  const before = await listAll(client);
  let { revision } = before;
  let next = Number.POSITIVE_INFINITY;
  for (const { id, send } of writesFor(client, before, wanted)) {
    const reply = await send(revision);
    if (reply.ok) {
      revision = reply.revision ?? revision;
      say(id, "stored");
      continue;
    }
    say(id, `${reply.problem.code}: ${reply.problem.detail}`);
    next = Math.min(next, secondsAfter(reply));
    // The reading is out of date, or the agent takes no writes now: the rest waits for the next round.
    if (reply.status === 412 || reply.status >= 500) return next;
  }
  // Stored means durable. The kernel has it when a pass has applied the revision, and each object tells how that went.
  await client.get("/v1/status", { query: { appliedRevision: revision, wait: "30s" } });
  const after = await listAll(client);
  for (const { kind, name, status } of [...after.eips, ...after.fips]) {
    const { reason, message } = status.conditions.find(({ type }) => type === "Ready") ?? {};
    say(`${kind} ${name}`, status.ready ? "Ready" : `not Ready: ${reason}: ${message}`);
  }
  return next;
}

/** After how many seconds a refused write is worth another round. */
function secondsAfter({ status, retryAfter = busySeconds }: Refusal): number {
  switch (status) {
    case 412: // Somebody else wrote after our reading. Read again.
      return 0;
    case 429: // Too many requests.
    case 503: // The agent is busy, or cannot write to its disk now.
      return retryAfter;
    case 409: // Another object has the address, or the Eip is in use. Another write may change that.
      return busySeconds;
    default: // The same request has the same answer until somebody changes something: 401, 403, 422, and 410 for a deleted uid.
      return Number.POSITIVE_INFINITY;
  }
}

/** Both lists at one revision. */
async function listAll(client: Client) {
  for (;;) {
    const [eips, fips] = [await client.get("/v1/eips"), await client.get("/v1/fips")];
    if (!eips.ok) throw new Error(eips.problem.detail);
    if (!fips.ok) throw new Error(fips.problem.detail);
    const { revision } = fips.body;
    if (eips.body.revision === revision) return { revision, eips: eips.body.items, fips: fips.body.items };
  }
}

type Listed = Awaited<ReturnType<typeof listAll>>;

/** Users of an Eip are deleted before it, and written after it. */
function writesFor(client: Client, stored: Listed, wanted: Wanted): readonly Write[] {
  const header = (revision: number) => ({ "if-match": `"${revision}"` });
  return [
    ...extra(stored.fips, wanted.fips).map(
      ({ name, uid }): Write => ({
        id: `delete fips/${name}`,
        send: (revision) =>
          client.delete("/v1/fips/{name}", {
            path: { name },
            query: uid ? { uid } : {},
            header: header(revision),
          }),
      }),
    ),
    ...extra(stored.eips, wanted.eips).map(
      ({ name, uid }): Write => ({
        id: `delete eips/${name}`,
        send: (revision) =>
          client.delete("/v1/eips/{name}", {
            path: { name },
            query: uid ? { uid } : {},
            header: header(revision),
          }),
      }),
    ),
    ...changed(stored.eips, wanted.eips).map(
      (body): Write => ({
        id: `put eips/${body.name}`,
        send: (revision) =>
          client.put("/v1/eips/{name}", { path: { name: body.name }, body, header: header(revision) }),
      }),
    ),
    ...changed(stored.fips, wanted.fips).map(
      (body): Write => ({
        id: `put fips/${body.name}`,
        send: (revision) =>
          client.put("/v1/fips/{name}", { path: { name: body.name }, body, header: header(revision) }),
      }),
    ),
  ];
}

interface Stored {
  readonly name: string;
  readonly uid?: string;
  readonly spec: object;
}

function extra<S extends Stored>(
  stored: readonly S[],
  wanted: readonly { readonly name: string }[],
): readonly S[] {
  return stored.filter(({ name }) => !wanted.some((entry) => entry.name === name));
}

function changed<W extends { readonly name: string }>(
  stored: readonly Stored[],
  wanted: readonly W[],
): readonly W[] {
  const flat = stored.map(({ name, uid, spec }) => ({ name, ...(uid && { uid }), ...spec }));
  return wanted.filter((entry) => !flat.some((object) => isDeepStrictEqual(object, entry)));
}

const said = new Map<string, string>();

/** Prints what is new. */
function say(id: string, text: string): void {
  if (said.get(id) !== text) console.log(`${id}: ${text}`);
  said.set(id, text);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    socket: { type: "string", default: "/run/natgw/agent.sock" },
    resync: { type: "string", default: "30" },
  },
});
const client = await connect({ socket: values.socket });
for (;;) {
  // A real controller also starts a round when one of its resources changes, and at an event of GET /v1/events.
  let seconds = Number(values.resync);
  try {
    const wanted = JSON.parse(await readFile(positionals[0] ?? "wanted.json", "utf8"));
    seconds = Math.min(seconds, await reconcile(client, wanted));
  } catch (error) {
    // The agent is starting again, or is not there yet. It keeps what it stored; the next round reads what that is.
    if (!(error instanceof ConnectionError)) throw error;
    say("no answer", error.message);
    seconds = 1;
  }
  await sleep(seconds * 1_000);
}
