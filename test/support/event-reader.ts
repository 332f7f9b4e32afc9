/** A reader of `GET /v1/events` over a Unix socket, that parses server-sent events. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";

export interface ReadEvent {
  readonly id: string;
  readonly type: string;
  /** Parsed. */
  readonly data: Readonly<Record<string, unknown>>;
}

export class EventReader {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** All events so far. */
  readonly events: ReadEvent[] = [];
  readonly comments: string[] = [];
  /** The id after which a reader goes on: of the last event or comment that had one. */
  lastId = "";
  hasEnded = false;
  readonly #response: IncomingMessage;
  readonly #waiting = new Set<() => void>();
  readonly #onEvent: ((event: ReadEvent) => void) | undefined;
  #rest = "";

  private constructor(response: IncomingMessage, onEvent?: (event: ReadEvent) => void) {
    this.#response = response;
    this.#onEvent = onEvent;
    this.status = response.statusCode ?? 0;
    this.headers = response.headers;
    response.setEncoding("utf8");
    response.on("data", (text: string) => this.#take(text));
    // A connection that breaks ends the stream, too.
    response.on("error", () => undefined);
    response.on("close", () => {
      this.hasEnded = true;
      this.#tell();
    });
  }

  /** @param onEvent called with each event; then none is kept */
  static async open(
    socketPath: string,
    query = "",
    headers: Readonly<Record<string, string>> = {},
    onEvent?: (event: ReadEvent) => void,
  ): Promise<EventReader> {
    const asked = request({ socketPath, path: `/v1/events${query}`, headers, agent: false });
    asked.end();
    const [response]: IncomingMessage[] = await once(asked, "response");
    if (response === undefined) throw new Error("no response");
    return new EventReader(response, onEvent);
  }

  /** Resolves when `isDone` is true, which is asked after everything that comes. Rejects if the stream ends before. */
  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      if (this.hasEnded) throw new Error(`the stream ended: ${this.#rest}${JSON.stringify(this.comments)}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async whenEnded(): Promise<void> {
    while (!this.hasEnded) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  /** The text after the last whole event. If it is no stream, the whole body. */
  get rest(): string {
    return this.#rest;
  }

  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  close(): void {
    this.#response.destroy();
  }

  #take(text: string): void {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop() ?? "";
    for (const block of blocks) this.#takeBlock(block);
    this.#tell();
  }

  #takeBlock(block: string): void {
    const fields = new Map<string, string>();
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      const value = line.slice(colon + 1).replace(/^ /, "");
      if (colon === 0) this.comments.push(value);
      else fields.set(line.slice(0, colon), value);
    }
    const id = fields.get("id");
    if (id !== undefined) this.lastId = id;
    const data = fields.get("data");
    if (data === undefined) return;
    const event = { id: id ?? "", type: fields.get("event") ?? "", data: JSON.parse(data) };
    if (this.#onEvent === undefined) this.events.push(event);
    else this.#onEvent(event);
  }

  #tell(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}
