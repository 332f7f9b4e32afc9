/** Lines are written in order and in batches; what does not fit or is not written is counted. */
import t from "tap";
import { Gaps } from "../../../../agent/flow-log/gaps.ts";
import { LineBuffer } from "../../../../agent/flow-log/line-buffer.ts";
import { until } from "../../../support/run.ts";

function setUp(maxBytes = 100) {
  const writes: string[] = [];
  const told = { written: 0, failed: 0 };
  let gate: { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } | undefined;
  const buffer = new LineBuffer({
    sink: {
      async write(bytes) {
        await gate?.promise;
        writes.push(bytes.toString());
      },
      async close() {
        writes.push("closed");
      },
    },
    onWritten: (lines) => (told.written += lines),
    onFailed: (lines) => (told.failed += lines),
    maxBytes,
    pauseMs: 1,
  });
  const hold = () => {
    gate = Promise.withResolvers<void>();
    gate.promise.catch(() => undefined);
    return gate;
  };
  return { buffer, writes, told, hold };
}

t.test("nothing waits for a writer that hangs", async (t) => {
  const { buffer, writes, told, hold } = setUp(10);
  const gate = hold();
  t.ok(buffer.add("one\n"));
  await until("the writer to take it", () => buffer.add("1234567890") || undefined);
  t.notOk(buffer.add("x"), "the buffer is full");
  gate.resolve();
  await until("both to be written", () => told.written === 2);
  t.strictSame(writes, ["one\n", "1234567890"]);
  t.ok(buffer.add("two\n"));
  await buffer.stop();
  t.strictSame(writes.slice(2), ["two\n", "closed"]);
  t.strictSame(told, { written: 3, failed: 0 });
});

t.test("a failed write loses its lines, and is tried again with the next ones", async (t) => {
  const { buffer, writes, told, hold } = setUp();
  const gate = hold();
  buffer.add("one\n");
  buffer.add("two\n");
  gate.reject(new Error("ENOSPC"));
  await until("the failure", () => told.failed === 2);
  hold().resolve();
  buffer.add("three\n");
  await until("the next", () => told.written === 1, 5_000);
  t.strictSame(writes, ["three\n"]);
  await buffer.stop();
});

t.test("a stop does not wait for a writer that hangs", async (t) => {
  const { buffer, hold } = setUp();
  hold();
  buffer.add("one\n");
  await buffer.stop(10);
  t.pass();
});

t.test("gaps are written once there is room, and summed until then", async (t) => {
  const lines: string[] = [];
  let hasRoom = false;
  const lost: Record<string, number> = {};
  const gaps = new Gaps({
    add: (line) => hasRoom && lines.push(line) > 0,
    onLost: (reason, records) => (lost[reason] = (lost[reason] ?? 0) + records),
    wallMs: () => 2_000,
  });
  gaps.note("backlog", 3, 500);
  gaps.write();
  gaps.note("backlog", 4, 1_500);
  gaps.note("stopped", 0, undefined);
  hasRoom = true;
  gaps.write();
  gaps.write();
  t.strictSame(
    lines.map((line) => JSON.parse(line)),
    [
      {
        time: "1970-01-01T00:00:02.000Z",
        event: "log gap",
        reason: "backlog",
        since: "1970-01-01T00:00:00.500Z",
        records: 7,
      },
      { time: "1970-01-01T00:00:02.000Z", event: "log gap", reason: "stopped" },
    ],
  );
  t.same(lost, { backlog: 7, stopped: 0 });
});
