/** `GET /v1/events`: what a reader gets, where it goes on, and who is cut off. */
import t, { type Test } from "tap";
import { eventLogLimits } from "../../../../../lib/events/event-log.ts";
import { type ObjectName, objectId } from "../../../../../lib/model/names.ts";
import { testApi } from "../../../../support/api-fakes.ts";
import { EventReader } from "../../../../support/event-reader.ts";

const epoch = "boot-1/4026531840";

async function serve(t: Test, settings: Parameters<typeof testApi>[0] = {}) {
  const counts: number[] = [];
  const cutOff: string[] = [];
  const eventReaders = {
    onCount: (count: number) => counts.push(count),
    onCutOff: (reason: string) => cutOff.push(reason),
  };
  const served = testApi(settings, { eventReaders });
  await served.api.listen();
  t.teardown(() => served.api.close());
  const open = async (query = "", headers: Readonly<Record<string, string>> = {}) => {
    const reader = await EventReader.open(served.socketPath, query, headers);
    t.teardown(() => reader.close());
    return reader;
  };
  const put = async (name: string) => {
    const body = { address: `203.0.113.${10 + Number(name.slice(1))}/24` };
    const { statusCode } = await served.app.inject({ method: "PUT", url: `/v1/eips/${name}`, payload: body });
    t.equal(statusCode, 202);
    served.events.onConditions([objectId("eip", name)]);
  };
  const list = async () => (await served.app.inject("/v1/eips")).json();
  return { ...served, open, put, list, counts, cutOff };
}

const namesOf = ({ events }: EventReader) => events.map(({ type, data }) => data.name ?? type);

t.test("a reader gets what changes: the object as a list has it", async (t) => {
  const { open, put, list, events, state, app, counts } = await serve(t);
  const reader = await open();
  t.equal(reader.headers["content-type"], "text/event-stream");
  await reader.until(() => reader.lastId !== "");
  t.same([reader.comments, reader.lastId], [["heartbeat"], `${epoch}.1000`], "at once it knows where it is");
  await put("a1");
  await reader.until(() => reader.events.length === 1);
  const [item] = (await list()).items;
  t.same(reader.events, [{ id: `${epoch}.1001`, type: "object", data: { ...item, deleted: false } }]);
  await app.inject({ method: "DELETE", url: "/v1/eips/a1" });
  events.onConditions([objectId("eip", "a1")]);
  await reader.until(() => reader.events.length === 2);
  const { revision } = state.current.desired;
  t.same(reader.events[1]?.data, { kind: "Eip", name: "a1", revision, deleted: true });
  events.report("pass", { converged: true });
  await reader.until(() => reader.events.length === 3);
  t.match(reader.events[2], { type: "pass", data: { revision, time: String, converged: true } });
  t.same(counts, [1]);
  reader.close();
  await reader.whenEnded();
  const last = await open();
  await last.until(() => last.lastId !== "");
  t.equal(counts.at(-1), 1, "the one that left is not counted");
});

t.test("several changes of an object are one event, with its last state", async (t) => {
  const { open, put, events } = await serve(t);
  for (const name of ["a1", "a2", "a1", "a1"]) await put(name);
  events.onConditions(Array.from({ length: 5_000 }, () => objectId("eip", "a2")));
  await put("a1");
  const reader = await open("?since=10m&follow=false");
  await reader.whenEnded();
  t.same(namesOf(reader).sort(), ["a1", "a2", "resync"].sort(), "the agent does not run for 10 minutes");
});

t.test("list, then watch: nothing is between them", async (t) => {
  const { open, put, list, app } = await serve(t);
  await put("a1");
  const { eventId, revision, items } = await list();
  t.same([revision, items.length], [1, 1]);
  t.equal((await app.inject("/v1/desired")).headers["natgw-event-id"], eventId);
  t.equal((await app.inject("/v1/eips")).headers["natgw-event-id"], eventId);
  await put("a2");
  const reader = await open(`?since=${encodeURIComponent(eventId)}`);
  await put("a3");
  await reader.until(() => reader.events.length === 2);
  t.same(namesOf(reader), ["a2", "a3"]);
  const again = await open("?since=0", { "last-event-id": reader.events[0]?.id ?? "" });
  await again.until(() => again.events.length === 1);
  t.same(namesOf(again), ["a3"], "the header goes before the query");
});

t.test("where events are missing, a resync comes first, or 410", async (t) => {
  const { open, put, events } = await serve(t);
  await put("a1");
  for (let count = 0; count < eventLogLimits.occurrences.count + 1; count++) events.report("pass", {});
  const cases = [
    [`${epoch}.900`, "restart"],
    ["other-epoch.1001", "epoch"],
    [`${epoch}.999999`, "unknown"],
    [`${epoch}.1001`, "expired"],
  ] as const;
  for (const [since, reason] of cases) {
    const reader = await open(`?since=${encodeURIComponent(since)}`);
    await reader.until(() => reader.lastId !== "");
    t.match(reader.events, [{ type: "resync", id: events.id, data: { reason, revision: 1 } }], since);
    reader.close();
    const refused = await open(`?strict=true&since=${encodeURIComponent(since)}`);
    await refused.whenEnded();
    t.equal(refused.status, 410, since);
    t.match(JSON.parse(refused.rest), { code: "events-expired", status: 410, reason });
  }
  const objects = await open(`?type=object&since=${encodeURIComponent(`${epoch}.1000`)}`);
  await objects.until(() => objects.lastId !== "");
  t.same(namesOf(objects), ["a1"], "passes are missing, which it does not want");
  const garbage = await open("", { "last-event-id": "garbage" });
  await garbage.until(() => garbage.lastId !== "");
  t.match(garbage.events, [{ type: "resync", data: { reason: "unknown" } }]);
});

t.test("filters, and what they refuse", async (t) => {
  const { open, put, events } = await serve(t);
  const [eips, named, passes] = await Promise.all([
    open("?kind=Eip,fips"),
    open("?name=a2"),
    open("?type=pass,degraded"),
  ]);
  const rest = await open("?kind=route");
  await put("a1");
  await put("a2");
  events.report("pass", {});
  events.report("drift", {}, new Set([objectId("eip", "a2")]));
  const last = await open(`?follow=false&since=${encodeURIComponent(`${epoch}.1000`)}`);
  await last.whenEnded();
  t.same(namesOf(last), ["a1", "a2", "pass", "drift"]);
  await Promise.all([
    eips.until(() => eips.events.length === 3),
    named.until(() => named.events.length === 2),
    passes.until(() => passes.events.length === 1),
  ]);
  t.same(
    [namesOf(eips), namesOf(named), namesOf(passes)],
    [["a1", "a2", "drift"], ["a2", "drift"], ["pass"]],
  );
  t.same(rest.events, []);
  for (const [query, pointer] of [
    ["kind=pod", "/query/kind"],
    ["type=objects", "/query/type"],
    ["since=yesterday", "/query/since"],
    ["strict=yes", "/query/strict"],
    ["who=me", "/query/who"],
  ]) {
    const refused = await open(`?${query}`);
    await refused.whenEnded();
    t.equal(refused.status, 422);
    t.match(JSON.parse(refused.rest).errors, [{ pointer }]);
  }
});

t.test("a heartbeat moves the id forward, also of a reader that wants nothing of it", async (t) => {
  const { open, put, events } = await serve(t, { readers: { heartbeatMs: 30 } });
  const reader = await open("?kind=route");
  await put("a1");
  await reader.until(() => reader.lastId === events.id);
  const before = reader.comments.length;
  await reader.until(() => reader.comments.length > before + 1);
  t.same(reader.events, []);
});

t.test("too many readers", async (t) => {
  const { open, counts } = await serve(t, { readers: { most: 2 } });
  const [first] = [await open(), await open()];
  const refused = await open();
  await refused.whenEnded();
  t.equal(refused.status, 503);
  t.equal(refused.headers["retry-after"], "1");
  t.match(JSON.parse(refused.rest), { code: "overloaded", detail: "2 readers of events are connected" });
  first.close();
  while (counts.at(-1) !== 1) await new Promise(setImmediate);
  t.equal((await open()).status, 200);
});

t.test("one that reads nothing is cut off with a reason; others go on", async (t) => {
  const { open, events, state, cutOff, counts } = await serve(t, { readers: { stallMs: 150 } });
  const spec = (name: string) => ({
    name: name as ObjectName,
    address: "203.0.113.10/24",
    uid: "x".repeat(100),
  });
  const names = Array.from({ length: 3_000 }, (_, index) => `eip-${index}`);
  await state.transact(() => ({
    changes: names.map(
      (name, creation) =>
        ({ type: "put", kind: "eip", object: { spec: spec(name), revision: 1, creation } }) as never,
    ),
    result: undefined,
  }));
  const slow = await open();
  slow.pause();
  const quick = await open();
  const change = () => events.onConditions(names.map((name) => objectId("eip", name)));
  change();
  await quick.until(() => quick.events.length === names.length);
  while (cutOff.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  t.same(cutOff, ["stalled"]);
  t.equal(counts.at(-1), 1);
  slow.resume();
  await slow.whenEnded();
  t.match(slow.comments.at(-1), /^cut off: /);
  t.ok(slow.events.length < names.length);
  change();
  await quick.until(() => quick.events.length === 2 * names.length);
  const again = await open(`?since=${encodeURIComponent(slow.lastId)}&follow=false`);
  await again.whenEnded();
  t.equal(new Set(namesOf(again)).size, names.length, "it goes on where it was");
});

t.test("a stop ends the streams", async (t) => {
  // Nobody waits for the end of the drain, or this would take an hour.
  const { open, api } = await serve(t, { drainMs: 3_600_000 });
  const readers = [await open(), await open("?kind=route")];
  await api.close();
  for (const reader of readers) {
    await reader.whenEnded();
    t.equal(reader.comments.at(-1), "the agent is stopping");
  }
});

t.test("HEAD has the headers and no stream", async (t) => {
  const { app } = await serve(t);
  const { statusCode, headers, body } = await app.inject({ method: "HEAD", url: "/v1/events" });
  t.same([statusCode, headers["content-type"], body], [200, "text/event-stream", ""]);
});
