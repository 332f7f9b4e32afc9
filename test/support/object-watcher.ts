/**
 * A client that lists all objects once and then follows their events, as docs/api.md says it: it goes on with its last
 * id when a stream ends, and lists again at a resync. It trusts nothing else, so what it believes is what the events say.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Agent } from "undici";
import { request } from "undici";
import { collections, type Kind } from "../../lib/model/names.ts";
import type { ObjectReply } from "./api-client.ts";
import { EventReader, type ReadEvent } from "./event-reader.ts";

interface List {
  readonly items: readonly ObjectReply[];
  readonly eventId: string;
}

type EventData = Partial<ObjectReply> & {
  readonly kind: string;
  readonly name: string;
  readonly deleted: boolean;
};

const retryMs = 20;

export class ObjectWatcher {
  /** Objects as JSON by `Kind/name`, in a form that can be compared with {@link describe}. */
  readonly believed = new Map<string, string>();
  lists = 0;
  resyncs = 0;
  connects = 0;
  events = 0;
  readonly #socketPath: string;
  readonly #agent: Agent;
  readonly #kind: Kind | undefined;
  readonly #running: Promise<void>;
  #reader: EventReader | undefined;
  #lastId = "";
  #isStopping = false;

  /** @param kind absent: all kinds */
  constructor(socketPath: string, agent: Agent, kind?: Kind) {
    this.#socketPath = socketPath;
    this.#agent = agent;
    this.#kind = kind;
    this.#running = this.#run();
  }

  /** Breaks the connection. The watcher goes on with its last id, or without all it knows. */
  kill(isForgetting: boolean): void {
    if (isForgetting) this.#lastId = "";
    this.#reader?.close();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#reader?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      try {
        if (this.#lastId === "") await this.#list();
        await this.#follow();
      } catch (error) {
        if (!isGone(error)) throw error;
        await delay(retryMs);
      }
    }
  }

  async #list(): Promise<void> {
    this.lists += 1;
    this.believed.clear();
    let eventId = "";
    for (const collection of this.#kind === undefined ? collections : [`${this.#kind}s`]) {
      const answer = await request(`http://agent/v1/${collection}`, { dispatcher: this.#agent });
      const list = (await answer.body.json()) as List;
      // What changed since the first list is told again, whatever the later ones have.
      eventId ||= list.eventId;
      for (const item of list.items) this.believed.set(`${item.kind}/${item.name}`, describe(item));
    }
    this.#lastId = eventId;
  }

  async #follow(): Promise<void> {
    const query = this.#kind === undefined ? "?type=object" : `?kind=${this.#kind}`;
    const headers = { "last-event-id": this.#lastId };
    const reader = await EventReader.open(this.#socketPath, query, headers, (event) => this.#take(event));
    this.#reader = reader;
    this.connects += 1;
    // While it was opened, it could not be killed or stopped: it would take no event for ever.
    const isUnwanted = this.#lastId === "" || this.#isStopping;
    if (isUnwanted || reader.status !== 200) reader.close();
    await reader.whenEnded();
    if (this.#lastId !== "" && reader.lastId !== "") this.#lastId = reader.lastId;
  }

  #take({ type, data }: ReadEvent): void {
    if (type === "resync") {
      this.resyncs += 1;
      this.kill(true);
    } else if (type === "object" && this.#lastId !== "") {
      this.events += 1;
      const object = data as unknown as EventData;
      const key = `${object.kind}/${object.name}`;
      if (object.deleted) this.believed.delete(key);
      else this.believed.set(key, describe(object as unknown as ObjectReply));
    }
  }
}

/** What a reader knows of an object: all but the time of the last reading, and the users of an Eip. */
export function describe({ kind, name, spec, revision, status }: ObjectReply): string {
  const {
    verifiedAt: _time,
    usedBy: _users,
    ...rest
  } = status as ObjectReply["status"] & Record<string, unknown>;
  return JSON.stringify({ kind, name, spec, revision, status: rest });
}

/** The agent was killed, or does not listen yet. */
function isGone(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(ECONN|EPIPE|ENOENT|UND_ERR_(SOCKET|DESTROYED|CLOSED|ABORTED))/.test(code);
}
