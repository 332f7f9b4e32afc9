/** The loop: when passes run, and which pass answers which request. */

import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { type PassOutcome, ReconcileLoop } from "../../../../agent/reconciler/loop.ts";
import type { PassReport } from "../../../../agent/reconciler/pass/report.ts";
import type { PassRequest } from "../../../../agent/reconciler/pass-request.ts";

const forever = new AbortController().signal;
const report: PassReport = {
  startedAt: "2026-01-01T00:00:00.000Z",
  took: 0,
  reasons: [],
  observed: { rules: 0, addresses: 0, routes: 0 },
  changed: 0,
  changes: [],
  failed: [],
  flowsRemoved: 0,
};

/** A loop whose passes the test ends. */
function handLoop(resyncIntervalMs = 60_000) {
  const begun: PassRequest[] = [];
  const ends: { end: (outcome?: Partial<PassOutcome>) => void; fail: (error: Error) => void }[] = [];
  const failures: number[] = [];
  let onBegin = () => {};
  const loop = new ReconcileLoop({
    pass: (request) => {
      begun.push(request);
      const { promise, resolve, reject } = Promise.withResolvers<PassOutcome>();
      ends.push({ end: (outcome = {}) => resolve({ report, dueInMs: undefined, ...outcome }), fail: reject });
      onBegin();
      return promise;
    },
    resyncIntervalMs,
    onFailure: (_error, retryInMs) => failures.push(retryInMs),
  });
  const passNumber = (n: number) =>
    new Promise<void>((resolve) => {
      onBegin = () => begun.length >= n && resolve();
      onBegin();
    });
  return { loop, begun, ends, failures, passNumber };
}

t.test("the loop", async (t) => {
  t.test("starts with a full pass; wakes during a pass share the next one", async (t) => {
    const { loop, begun, ends, passNumber } = handLoop();
    loop.wake("too early");
    t.equal(begun.length, 0, "nothing runs before the start");
    loop.start();
    await passNumber(1);
    t.strictSame(begun[0], { reasons: ["too early", "start"], isResync: true });
    for (let n = 0; n < 1000; n++) loop.wake("write");
    ends[0]?.end();
    await passNumber(2);
    t.strictSame(begun[1], { reasons: ["write"], isResync: false });
    ends[1]?.end();
    await loop.stop();
    t.equal(begun.length, 2);
  });

  t.test("a request for a pass gets one that begins after the request", async (t) => {
    const { loop, ends, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    let isAnswered = false;
    const answer = loop.run("asked", forever).then(() => {
      isAnswered = true;
    });
    ends[0]?.end();
    await passNumber(2);
    t.notOk(isAnswered, "the pass under way is not the answer");
    ends[1]?.end();
    await answer;
    await loop.stop();
  });

  t.test("a retry of refused objects is requested of one pass, and again if it could not run", async (t) => {
    const { loop, begun, ends, passNumber } = handLoop(0);
    loop.start();
    await passNumber(1);
    const answer = loop.run("api", forever, true).catch(() => "failed");
    ends[0]?.end();
    await passNumber(2);
    ends[1]?.fail(new Error("unreadable"));
    t.equal(await answer, "failed");
    await passNumber(3);
    ends[2]?.end();
    await passNumber(4);
    ends[3]?.end();
    await loop.stop();
    t.strictSame(
      begun.slice(0, 4).map(({ isRetry = false }) => isRetry),
      [false, true, true, false],
    );
  });

  t.test("backs off while no pass can run, then runs a full pass", async (t) => {
    const { loop, begun, ends, failures, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    const asked = loop.run("asked", forever);
    ends[0]?.fail(new Error("unreadable"));
    await passNumber(2);
    ends[1]?.fail(new Error("unreadable"));
    await t.rejects(asked, /unreadable/);
    t.strictSame(failures, [500, 500], "who asks meanwhile makes nobody wait longer");
    t.ok(begun[1]?.isResync);
    await passNumber(3);
    ends[2]?.fail(new Error("unreadable"));
    await delay(0);
    t.strictSame(failures, [500, 500, 1000], "a retry in vain does");
    await loop.stop();
    await t.rejects(loop.run("late", forever), /stopping/);
    await loop.stop();
  });

  t.test("retries at the resync interval at the latest", async (t) => {
    const { loop, begun, ends, failures, passNumber } = handLoop(3);
    loop.start();
    for (const n of [1, 2, 3]) {
      await passNumber(n);
      ends[n - 1]?.fail(new Error("unreadable"));
    }
    await passNumber(4);
    t.strictSame(failures, [3, 3, 3]);
    t.strictSame(begun[3], { reasons: ["timer"], isResync: true });
    ends[3]?.end();
    await loop.stop();
  });

  t.test("runs again when the pass requested it", async (t) => {
    const { loop, begun, ends, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    ends[0]?.end({ dueInMs: 5 });
    await passNumber(2);
    t.strictSame(begun[1], { reasons: ["timer"], isResync: true });
    ends[1]?.end();
    await loop.stop();
  });

  t.test("a retry that falls due during a pass is done by it", async (t) => {
    const { loop, begun, ends, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    ends[0]?.end({ dueInMs: 300 });
    await delay(1);
    loop.wake("event");
    await passNumber(2);
    await delay(400);
    ends[1]?.end();
    await delay(20);
    t.equal(begun.length, 2, "no other pass begins");
    await loop.stop();
  });

  t.test("passes in between do not put off the resync", async (t) => {
    const begun: PassRequest[] = [];
    const pass = async (request: PassRequest) => {
      begun.push(request);
      return { report, dueInMs: undefined };
    };
    const loop = new ReconcileLoop({ pass, resyncIntervalMs: 200, onFailure: () => {} });
    const resyncs = () => begun.filter(({ isResync }) => isResync);
    loop.start();
    for (let n = 0; n < 100 && resyncs().length < 3; n++) {
      await delay(20);
      loop.wake("write");
    }
    await loop.stop();
    t.equal(resyncs().length, 3, `of ${begun.length} passes`);
    t.ok(begun.length > 3, "passes in between");
  });

  t.test("stop lets the current pass finish", async (t) => {
    const { loop, ends, passNumber } = handLoop();
    loop.start();
    await passNumber(1);
    let isStopped = false;
    const stopping = loop.stop().then(() => {
      isStopped = true;
    });
    await delay(5);
    t.notOk(isStopped);
    ends[0]?.end();
    await stopping;
  });
});
