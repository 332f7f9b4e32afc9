/** Follows `GET /v1/events` and goes on where it stopped. EventSource cannot send a token, so it reads the stream itself. */
import { type Api, Refused } from "./api.ts";
import { EventParser, type ServerEvent } from "./sse.ts";

export type StreamState = "live" | "lost" | "absent";

export interface StreamHandlers {
  onEvents(events: readonly ServerEvent[]): void;
  onState(state: StreamState): void;
}

/** The agent sends a comment every 15 s. */
const silenceMs = 45_000;
const retryMs = { first: 500, most: 10_000 } as const;

/** Never ends. Returns if the agent has no events: then the page has to ask again and again. */
export async function followEvents(
  api: Api,
  since: string | undefined,
  handlers: StreamHandlers,
): Promise<void> {
  let id = since;
  let pauseMs: number = retryMs.first;
  for (;;) {
    try {
      for await (const { events, lastId } of read(api, id)) {
        handlers.onState("live");
        pauseMs = retryMs.first;
        if (lastId !== "") id = lastId;
        if (events.length > 0) handlers.onEvents(events);
      }
    } catch (error) {
      if (error instanceof Refused && (error.status === 404 || error.status === 403)) {
        handlers.onState("absent");
        return;
      }
      // Unknown id: begin with a resync.
      if (error instanceof Refused && error.status === 422) id = undefined;
    }
    handlers.onState("lost");
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    pauseMs = Math.min(pauseMs * 2, retryMs.most);
  }
}

async function* read(api: Api, since: string | undefined) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), silenceMs);
  try {
    const query = since === undefined ? "" : `?since=${encodeURIComponent(since)}`;
    const response = await api.fetch(`v1/events${query}`, () => silence.signal);
    const parser = new EventParser();
    const decoder = new TextDecoder();
    if (response.body === null) return;
    yield { events: [], lastId: "" };
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), silenceMs);
      yield { events: parser.push(decoder.decode(value, { stream: true })), lastId: parser.id };
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}
