/** Every read, for state of any shape, lets the event loop run after a bounded amount of work. */
import { setImmediate as nextTurn } from "node:timers/promises";
import t, { type Test } from "tap";
import { StatusBoard } from "../../../../agent/status/board.ts";
import { summarize } from "../../../../agent/status/summary.ts";
import { runSync } from "../../../../lib/chunked.ts";
import type { Change } from "../../../../lib/model/change.ts";
import { type InterfaceName, kinds, type ObjectId, objectId } from "../../../../lib/model/names.ts";
import type { ConditionValue, ObjectVerdict } from "../../../../lib/model/status.ts";
import { makeObjects, objectsOf } from "../../../../lib/state/desired.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import type { State } from "../../../../lib/state/state.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { type Shape, shapes } from "../../../support/api-shapes.ts";
import { ask, open, parseAnswer, requestText } from "../../../support/raw-http.ts";
import { WorkMeter } from "../../../support/work-meter.ts";

const count = 24_000;
/** Far fewer than there are objects. */
const looksAtOnce = 11_000;
const bytesAtOnce = 64 * 1024;

/** A stream that ends. */
const endingEvents = "/v1/events?follow=false";

const yes: ConditionValue = { holds: true, reason: "Ready", message: "" };
const good: ObjectVerdict = { accepted: yes, programmed: yes, ready: yes, isSettled: false };
const interfaces = { vpc: "eth0" as InterfaceName, external: "net1" as InterfaceName };

/** The API over the real board, on a state and a network of that shape. */
async function serve(t: Test, { state, network }: Shape) {
  let current = state;
  const board = new StatusBoard("epoch-1", () => current, "2026-01-01T00:00:00.000Z");
  const verdicts = new Map<ObjectId, ObjectVerdict>();
  for (const kind of kinds)
    for (const name of objectsOf(state.desired, kind).keys()) verdicts.set(objectId(kind, name), good);
  const publish = () =>
    runSync(
      board.publish({ state: current, verdicts, verifiedAt: "2026-01-01T00:00:01.000Z", isCleared: true }),
    );
  publish();
  const store = { current, recovery: { recovered: "fresh", detail: "" }, failure: undefined } as const;
  const reconciler = {
    result: undefined,
    lastReport: undefined,
    failure: undefined,
    network,
    adoption: { unread: [], refusal: undefined },
  };
  const config = { untranslated: "forward", bfdGate: "off" } as const;
  const parts = {
    config,
    api: [],
    version: "1",
    epoch: "epoch-1",
    backend: "nftables",
    interfaces,
    store,
    board,
  };
  const made = testApi(
    {},
    {
      board: {
        view: () => board.view(),
        wait: async () => "done",
        isReady: true,
        summary: () => summarize({ ...parts, reconciler }),
      },
    },
  );
  made.state.current = state;
  made.reconciler.network = network;
  t.teardown(() => made.api.close());
  await made.api.listen();
  const write = (next: State) => {
    current = next;
    made.state.current = next;
  };
  return { ...made, write, publish, where: { path: made.socketPath } };
}

const changes: readonly Change[] = Array.from({ length: count }, (_, index) => ({
  action: "add",
  subsystem: "rule",
  object: `fips/fip-${index}`,
  text: `-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.${index}`,
}));

const logLines = "/v1/diagnostics/log";
/** Answered with text. */
const texts = [endingEvents, logLines];

/** Reads that must be asked something. */
const queries: Readonly<Record<string, string>> = {
  "/v1/events": endingEvents,
  "/v1/diagnostics/:part": logLines,
  "/v1/explain": "/v1/explain?eip=192.0.2.99&port=80",
  "/v1/flows/top": "/v1/flows/top?by=clients",
  "/v1/flows/who": "/v1/flows/who?eip=203.0.113.10&port=1024",
};

t.test("every read of the route table, over every shape", async (t) => {
  for (const [name, make] of Object.entries(shapes)) {
    const { state, network } = make(count);
    const meter = new WorkMeter();
    const counted = {
      state: {
        ...state,
        desired: { ...state.desired, ...makeObjects((kind) => meter.map(objectsOf(state.desired, kind))) },
      },
      network: { ...network, addresses: meter.list(network.addresses), routes: meter.list(network.routes) },
    };
    const { api, reconciler, where } = await serve(t, counted);
    reconciler.next = { changes: meter.list(changes), changesTotal: count, flows: { total: 0, items: [] } };
    meter.start();
    const reads = api.routes.filter(({ method }) => method === "GET");
    t.ok(reads.length > 20);
    for (const { url } of reads) {
      const collection = url.split("/")[2] ?? "";
      const path = queries[url] ?? url.replace(":name", `${collection.slice(0, -1)}-0`);
      const paths = kinds.some((kind) => url === `/v1/${kind}s`) ? [path, `${path}?ready=false`] : [path];
      for (const asked of paths) {
        await nextTurn();
        meter.reset();
        const { chunks, body, status } = await ask(where, "GET", asked);
        const what = `${name}, ${asked}: ${status}, ${body.length} bytes`;
        t.ok(status === 200 || status === 404, what);
        if (meter.most > looksAtOnce) t.fail(`${what}: ${meter.most} looks in one turn`);
        const largest = Math.max(...chunks);
        if (largest > bytesAtOnce) t.fail(`${what}: ${largest} bytes in one piece`);
        if (meter.turns < chunks.length) t.fail(`${what}: ${chunks.length} pieces in ${meter.turns} turns`);
        if (body.length > 0 && asked.startsWith("/v1/") && !texts.includes(asked))
          t.doesNotThrow(() => JSON.parse(body.toString()));
      }
    }
    meter.stop();
    await api.close();
  }
});

t.test("a chunked answer equals an answer sent at once", async (t) => {
  const { where, app } = await serve(t, shapes["thousands of subnets"]?.(2_000) as Shape);
  for (const path of [
    "/v1/eips",
    "/v1/fips",
    "/v1/desired",
    "/v1/inventory",
    "/v1/status",
    "/openapi.json",
  ]) {
    const { body, head } = await ask(where, "GET", path);
    t.match(head, /content-type: application\/json; charset=utf-8/i);
    const value = JSON.parse(body.toString());
    t.equal(body.toString(), JSON.stringify(value), path);
    const whole = (await app.inject(path)).body;
    t.equal(whole.length, body.length, path);
  }
  const { items } = JSON.parse((await ask(where, "GET", "/v1/fips")).body.toString());
  t.equal(items.length, 1_000);
  t.match(items[7], { kind: "Fip", name: "fip-7", spec: { eip: "eip-7" }, status: { ready: true } });
  const set = JSON.parse((await ask(where, "GET", "/v1/desired")).body.toString());
  t.same(Object.keys(set), ["generation", "gateway", "eips", "fips", "snats", "dnats", "routes"]);
  const head = await ask(where, "HEAD", "/v1/eips");
  t.same([head.status, head.body.length], [200, 0]);
});

t.test("a list shows one state, however slowly the client reads", async (t) => {
  const { where, state, write, publish } = await serve(t, shapes["one subnet"]?.(20_000) as Shape);
  const socket = await open(where);
  const pieces: Buffer[] = [];
  socket.write(requestText("GET", "/v1/eips", ["connection: close"]));
  pieces.push(await new Promise<Buffer>((resolve) => socket.once("data", resolve)));
  socket.pause();
  const names = [...state.current.desired.eips.keys()];
  write(
    reduce(state.current, [
      ...names.map((name) => ({ type: "delete", kind: "eip", name }) as const),
      { type: "revision", revision: 2 },
    ]),
  );
  publish();
  for await (const piece of socket) pieces.push(piece as Buffer);
  const { body, head } = parseAnswer(Buffer.concat(pieces));
  const { items } = JSON.parse(body.toString());
  t.match(head, /etag: "1"/i);
  t.equal(items.length, 20_000, "nothing that was removed meanwhile is missing");
  t.ok(
    items.every(({ status }: { status: { ready: boolean } }) => status.ready),
    "nor is it told of as of later",
  );
  t.same(JSON.parse((await ask(where, "GET", "/v1/eips")).body.toString()).items, []);
});
