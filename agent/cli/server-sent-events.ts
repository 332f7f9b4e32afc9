/** Parses a stream of server-sent events (HTML, 9.2): blocks of `field: value` lines. */

export interface ServerSentEvent {
  readonly id: string | undefined;
  readonly type: string;
  readonly data: string;
}

/** In characters: above the longest event. */
const maxEvent = 4 * 1024 * 1024;

/** Comments count as events of the type `comment`: they move the id forward. @throws Error for an endless event */
export async function* parseEvents(text: AsyncIterable<string>): AsyncGenerator<ServerSentEvent> {
  let rest = "";
  for await (const part of text) {
    rest += part;
    if (rest.length > maxEvent) throw new Error("the event does not end");
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event !== undefined) yield event;
    }
  }
}

function parseBlock(block: string): ServerSentEvent | undefined {
  let id: string | undefined;
  let type = "";
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (name === "id") id = value;
    else if (name === "event") type = value;
    else if (name === "data") data.push(value);
  }
  if (data.length === 0 && id === undefined) return undefined;
  return { id, type: data.length === 0 ? "comment" : type || "message", data: data.join("\n") };
}
