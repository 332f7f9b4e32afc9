import fc from "fast-check";
import t from "tap";
import { parseEvents, type ServerSentEvent } from "../../../../agent/cli/server-sent-events.ts";

async function* inPieces(text: string, size: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
}

async function parsed(text: string, size: number): Promise<readonly ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  for await (const event of parseEvents(inPieces(text, size))) events.push(event);
  return events;
}

const stream = `id: e.1\nevent: object\ndata: {"a":1}\n\n: heartbeat\nid: e.2\n\n: only a comment\n\ndata: x\ndata: y\n\nevent: cut`;

t.test("events, comments that move the id, and an end in the middle", async (t) => {
  const expected = [
    { id: "e.1", type: "object", data: '{"a":1}' },
    { id: "e.2", type: "comment", data: "" },
    { id: undefined, type: "message", data: "x\ny" },
  ];
  t.same(await parsed(stream, 1_000), expected);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 20 }), fc.constantFrom("\n", "\r\n"), async (size, end) => {
      t.same(await parsed(stream.replaceAll("\n", end), size), expected);
    }),
    { numRuns: 40 },
  );
  await t.rejects(parsed(`data: ${"x".repeat(5_000_000)}`, 1_000_000), /does not end/);
});
