/** Keeps what the page knows: lists, then events; or polling, where the agent has no events. */
import type { Api } from "./api.ts";
import { type ChangedObject, dataOf, type Entry, type EventData, entryOf, objectEntries } from "./news.ts";
import { Objects, reasonOf } from "./objects.ts";
import { readSamples, type Samples } from "./samples.ts";
import { EventParser, type ServerEvent } from "./sse.ts";
import { followEvents, type StreamState } from "./stream.ts";
import { collections, type GatewayObject, type GatewayStatus, idOf, type List } from "./types.ts";

export interface KeeperHandlers {
  /** Something to draw anew. */
  onChange(): void;
  onNews(entry: Entry): void;
}

const statusMs = 5_000;
const metricsMs = 10_000;
/** Where there are no events, lists are read again after so long even if the status shows no change. */
const listsMs = 60_000;
/** Events often come in a row. The status is read once after them. */
const settleMs = 250;
/** Objects that change within this time are one line of the feed, if they are many. */
const togetherMs = 1_000;
const maxHistory = 90;
/** What is shown of the time before the page was opened. */
const past = "v1/events?since=1h&follow=false&type=drift,repair,degraded,conflict";
const maxPast = 30;

export class Keeper {
  readonly objects = new Objects();
  readonly #api: Api;
  readonly #handlers: KeeperHandlers;
  status: GatewayStatus | undefined;
  history: readonly Samples[] = [];
  answeredAt: string | undefined;
  failure: string | undefined;
  stream: StreamState | "connecting" = "connecting";
  /** The agent's clock minus this one's, in ms. */
  skewMs = 0;
  #signature = "";
  #listsReadAt = 0;
  #settling: ReturnType<typeof setTimeout> | undefined;
  /** Objects that changed, until they are told. */
  readonly #changed: ChangedObject[] = [];
  #telling: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api, handlers: KeeperHandlers) {
    this.#api = api;
    this.#handlers = handlers;
  }

  async start(): Promise<void> {
    await this.#untilDone(() => this.#readStatus());
    let since: string | undefined;
    await this.#untilDone(async () => {
      since = await this.#readLists();
    });
    void this.#readPast();
    void followEvents(this.#api, since, {
      onEvents: (events) => this.#onEvents(events),
      onState: (state) => {
        if (state === this.stream) return;
        this.stream = state;
        this.#handlers.onChange();
      },
    });
    void repeat(statusMs, () => this.#poll());
    void repeat(metricsMs, () => this.#readMetrics());
  }

  async #untilDone(read: () => Promise<void>): Promise<void> {
    while (!(await this.#attempt(read))) await new Promise((resolve) => setTimeout(resolve, 2_000));
  }

  /** @returns false if the agent did not answer. That is shown. */
  async #attempt(read: () => Promise<void>): Promise<boolean> {
    try {
      await read();
      this.failure = undefined;
      this.answeredAt = new Date(Date.now() + this.skewMs).toISOString();
      return true;
    } catch (error) {
      this.failure = failureOf(error);
      return false;
    } finally {
      this.#handlers.onChange();
    }
  }

  async #poll(): Promise<void> {
    const isAnswered = await this.#attempt(() => this.#readStatus());
    if (!isAnswered || this.stream === "live") return;
    const signature = signatureOf(this.status);
    if (signature === this.#signature && Date.now() - this.#listsReadAt < listsMs) return;
    this.#signature = signature;
    await this.#attempt(async () => void (await this.#readLists()));
  }

  async #readStatus(): Promise<void> {
    const { body, skewMs } = await this.#api.json<GatewayStatus>("v1/status");
    const before = this.status?.lastReconcile?.startedAt;
    this.status = body;
    // The header has whole seconds.
    if (Math.abs(skewMs - this.skewMs) > 1_500) this.skewMs = skewMs;
    const pass = body.lastReconcile;
    if (this.stream !== "absent" || pass === null || pass.startedAt === before || before === undefined)
      return;
    const entry = entryOf("pass", { ...pass, failed: pass.failed.length }, pass.startedAt);
    if (entry !== undefined) this.#handlers.onNews({ ...entry, changes: pass.changes, total: pass.changed });
  }

  /** @returns the last event that all lists know */
  async #readLists(): Promise<string | undefined> {
    let since: string | undefined;
    for (const collection of collections) {
      const { body } = await this.#api.json<List>(`v1/${collection}`);
      since ??= body.eventId;
      this.objects.replace(collection, body.items);
      this.#handlers.onChange();
    }
    this.#listsReadAt = Date.now();
    return since;
  }

  async #readMetrics(): Promise<void> {
    try {
      const samples = readSamples(await this.#api.text("metrics"), Date.now());
      this.history = [...this.history, samples].slice(-maxHistory);
      this.#handlers.onChange();
    } catch {
      // The next status tells whether the agent answers.
    }
  }

  async #readPast(): Promise<void> {
    try {
      const events = new EventParser().push(await this.#api.text(past));
      for (const event of events.slice(-maxPast)) {
        const data = dataOf(event);
        if (data === undefined || event.type === "resync" || data.time === undefined) continue;
        const entry = entryOf(event.type, data, data.time);
        if (entry !== undefined) this.#handlers.onNews(entry);
      }
    } catch {
      // An older agent has no events.
    }
  }

  #onEvents(events: readonly ServerEvent[]): void {
    const now = new Date(Date.now() + this.skewMs).toISOString();
    for (const event of events) {
      const data = dataOf(event);
      if (data === undefined) continue;
      if (event.type === "object") {
        const one = this.#apply(data);
        if (one !== undefined) this.#changed.push(one);
        continue;
      }
      if (event.type === "resync") void this.#attempt(async () => void (await this.#readLists()));
      const entry = entryOf(event.type, data, now);
      if (entry !== undefined) this.#handlers.onNews(entry);
    }
    if (this.#changed.length > 0) this.#telling ??= setTimeout(() => this.#tellChanged(), togetherMs);
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined;
      void this.#attempt(() => this.#readStatus());
    }, settleMs);
    this.#handlers.onChange();
  }

  #tellChanged(): void {
    this.#telling = undefined;
    const now = new Date(Date.now() + this.skewMs).toISOString();
    for (const entry of objectEntries(this.#changed.splice(0), now)) this.#handlers.onNews(entry);
  }

  #apply(data: EventData): ChangedObject | undefined {
    const { kind, name } = data;
    if (kind === undefined || name === undefined) return undefined;
    const id = idOf({ kind, name });
    if (id === undefined) return undefined;
    if (data.deleted === true) {
      return this.objects.remove(kind, name) ? { id, transition: "deleted", why: "" } : undefined;
    }
    if (data.status === undefined) return undefined;
    const object = data as GatewayObject;
    return {
      id,
      transition: this.objects.put(object),
      why: object.status.ready ? "" : reasonOf(object).text,
    };
  }
}

function failureOf(error: unknown): string {
  // What browsers call a connection that failed differs.
  if (error instanceof TypeError) return "The connection failed";
  if (error instanceof DOMException && error.name === "TimeoutError") return "No answer in time";
  return error instanceof Error ? error.message : String(error);
}

/** What of the status tells that objects changed. */
function signatureOf(status: GatewayStatus | undefined): string {
  if (status === undefined) return "";
  const { revision, objects, degraded, epoch } = status;
  return JSON.stringify([epoch, revision, objects, degraded]);
}

/** Calls it again and again, never twice at a time; less often while nobody looks. */
async function repeat(everyMs: number, act: () => Promise<void>): Promise<never> {
  for (;;) {
    await act();
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? everyMs * 4 : everyMs));
  }
}
