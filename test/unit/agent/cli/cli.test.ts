/** natgwctl with agents that answer badly, or not at all; its pure parts; its output at the end of a pipe. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { ctlSource, Natgwctl } from "../../../support/natgwctl.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

/** A server in place of the agent. */
async function serve(t: Test, answer: RequestListener): Promise<Natgwctl & { readonly socket: string }> {
  const directory = temporaryDirectory("natgwctl");
  const socket = join(directory, "agent.sock");
  const server = createServer(answer).listen(socket);
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(new Natgwctl(socket, ctlSource), { socket });
}

function json(status: number, body: unknown): RequestListener {
  return (_request, response) => {
    const type = status < 400 ? "application/json" : "application/problem+json";
    response.writeHead(status, { "content-type": type }).end(JSON.stringify(body));
  };
}

t.test("answers that are none: 3", async (t) => {
  const problem = { code: "storage-unavailable", detail: "the disk is full", title: "", status: 503 };
  const cases: readonly (readonly [string, RequestListener, RegExp])[] = [
    ["a problem of the agent", json(503, problem), /the agent answered 503: the disk is full/],
    [
      "a page of a proxy",
      (_request, response) => response.writeHead(502).end("<html>"),
      /answered 502: <html>/,
    ],
    [
      "cut short",
      (_request, response) => {
        response.writeHead(200, { "content-type": "application/json", "content-length": 100 }).write('{"ver');
        setImmediate(() => response.destroy());
      },
      /broke off/,
    ],
    [
      "no JSON",
      (_request, response) => response.writeHead(200, { "content-type": "application/json" }).end('{"ver'),
      /broke off/,
    ],
    ["silence", () => undefined, /Cannot reach/],
  ];
  for (const [what, answer, stderr] of cases) {
    const ctl = await serve(t, answer);
    t.match(await ctl.run("plan --request-timeout 500ms"), { code: 3, stdout: "", stderr }, what);
  }
});

t.test("answers of another program: 3, or 4 for a 4xx, never a bug", async (t) => {
  const typed =
    (type: string, body: string, status = 200): RequestListener =>
    (_request, response) =>
      response.writeHead(status, { "content-type": type }).end(body);
  const cases: readonly (readonly [string, RequestListener, RegExp])[] = [
    ["a page", typed("text/html", "<html>"), /gives 200 without a document/],
    ["an empty answer", (_request, response) => response.end(), /gives 200 without a document/],
    ["a list", json(200, []), /gives 200 without a document/],
    ["null", json(200, null), /gives 200 without a document/],
    ["another document", json(200, {}), /what it says is not understood/],
    ["a redirection", (_request, response) => response.writeHead(302).end(), /gives 302/],
    [
      "no content",
      (_request, response) => response.writeHead(204).end(),
      /gives 204|without a document|not understood/,
    ],
  ];
  for (const [what, answer, stderr] of cases) {
    const ctl = await serve(t, answer);
    for (const line of ["status", "get fips", "plan", "describe fip f", "verify", "top eips"])
      t.match(await ctl.run(line), { code: 3, stdout: "", stderr }, `${what}: ${line}`);
    for (const line of ["events", "events --follow"])
      t.match(
        await ctl.run(line),
        { code: 3, stdout: "", stderr: /not the agent: GET \/v1\/events gives/ },
        line,
      );
  }
  const page = await serve(t, typed("text/html", "<h1>404</h1>\n\n<p>nginx</p>\n", 404));
  t.match(await page.run("plan"), {
    code: 4,
    stderr: "natgwctl: what answers is not the agent: status 404: <h1>404</h1> <p>nginx</p>\n",
  });
  const odd = await serve(t, json(422, { code: "invalid", detail: "x", errors: "nope" }));
  t.match(await odd.run("plan"), { code: 4, stderr: /not the agent: status 422/ });
});

t.test("an agent that hangs: every command ends after --request-timeout, and says why", async (t) => {
  const ctl = await serve(t, () => undefined);
  const mute = await serve(t, (_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(": here\n\n");
  });
  const ended = { code: 3, stdout: "", stderr: /timeout: no answer within 0\.3 s\n.*--request-timeout/ };
  for (const line of [
    "status",
    "events",
    "events --follow",
    "get fips --watch",
    "doctor",
    "repair",
    "verify",
    "import --dry-run",
    "release 203.0.113.9",
    "delete fip f --no-wait",
  ])
    t.match(await ctl.run(`${line} --request-timeout 300ms`), ended, line);
  t.match(
    await mute.run("events --request-timeout 300ms"),
    { code: 3, stderr: /the event stream broke off: timeout/ },
    "a stream that ends by itself may not fall silent",
  );
});

t.test("the time that the agent waits is added to --request-timeout", async (t) => {
  const ctl = await serve(
    t,
    (_request, response) => void setTimeout(() => response.writeHead(204).end(), 600),
  );
  t.match(await ctl.run("delete fip f --wait 1s --request-timeout 300ms"), { code: 0, stderr: "" });
});

t.test("refusals: 4, with every pointer, and nothing raw of what the server says", async (t) => {
  const problem = {
    code: "invalid",
    detail: "not \u001b[2Jvalid",
    errors: [
      { pointer: "/fips/3/internalIp", message: "must be an IPv4 address" },
      { pointer: "", message: "\u202eis bad" },
    ],
  };
  const ctl = await serve(t, json(422, problem));
  t.match(await ctl.run("plan"), {
    code: 4,
    stderr:
      "natgwctl: not \\u001b[2Jvalid\n  /fips/3/internalIp: must be an IPv4 address\n  /: \\u202eis bad\n",
  });
});

t.test("bad arguments: 2, and nothing is asked", async (t) => {
  let asked = 0;
  const ctl = await serve(t, (_request, response) => {
    asked++;
    response.writeHead(500).end();
  });
  const cases: Readonly<Record<string, RegExp>> = {
    "explain --from 10.0.1.5 --to 198.51.100.7 --port 70000":
      /--port must be a number from 1 to 65535, not 70000/,
    "explain --in eip-a --port 80 --sport x": /--sport must be a number/,
    "explain --in eip-a": /--in needs --port/,
    "who 203.0.113.10:70000": /the port must be a number from 0 to 65535/,
    "who 203.0.113.10": /is missing its port/,
    "events --since yesterday": /--since must be a duration/,
  };
  for (const [line, stderr] of Object.entries(cases))
    t.match(await ctl.run(line), { code: 2, stdout: "", stderr }, line);
  t.equal(asked, 0);
});

t.test("what is asked of the agent", async (t) => {
  const paths: (string | undefined)[] = [];
  const ctl = await serve(t, ({ url }, response) => {
    paths.push(url);
    json(500, {})({} as never, response as never);
  });
  for (const line of [
    "who 203.0.113.10:53",
    "who 203.0.113.10:53 --proto udp",
    "who eips/eip-a:53",
    "explain --in eip-a --proto icmp",
    "events --since 1d",
    "events --since a-1.7",
  ])
    await ctl.run(line);
  t.strictSame(
    paths.map((path) => path?.replace(/^\/v1/, "")),
    [
      "/flows/who?eip=203.0.113.10&port=53",
      "/flows/who?eip=203.0.113.10&port=53&protocol=udp",
      "/flows/who?eip=eip-a&port=53",
      "/explain?eip=eip-a&protocol=icmp",
      "/events?since=86400s&follow=false",
      "/events?since=a-1.7&follow=false",
    ],
  );
});

t.test("a key that occurs twice in a JSON file: 2, with its line, and nothing is asked", async (t) => {
  const ctl = await serve(t, (_request, response) => void response.destroy());
  const input =
    '{"generation":1,"eips":[{"name":"a:b"}],"fips":[],"snats":[],\n"dnats":[],"routes":[],"eips":[]}';
  const refused = await ctl.run("diff -f -", { input });
  t.match(refused, { code: 2, stdout: "", stderr: /-: Map keys must be unique at line 2/ });
  const once = await ctl.run("diff -f -", { input: input.replace(',"eips":[]', "") });
  t.match(once, { code: 3 }, "the same without it is asked of the agent");
});

t.test("describe shows what is in the kernel, not how it would be removed", async (t) => {
  const status = { ready: true, observedRevision: 1, epoch: "e", conditions: [] };
  const limit = { kind: "Limit", name: "l", spec: {}, revision: 1, status };
  const texts = ["tc class del dev eth0 classid 1:1", "-D X -j Y", "ip address del 203.0.113.10/24 dev net1"];
  const changes = texts.map((text) => ({ action: "remove", subsystem: "any", text }));
  const ctl = await serve(t, (request, response) => {
    const flows = { total: 0, items: [] };
    const body = request.method === "GET" ? limit : { changes, changesTotal: changes.length, flows };
    json(200, body)(request, response);
  });
  const { stdout } = await ctl.run("describe limit l");
  for (const shown of ["tc class add dev eth0 classid 1:1", "-A X -j Y", "ip address add 203.0.113.10/24"])
    t.match(stdout, shown);
  t.notMatch(stdout, / del /);
});

t.test("an EIP by its address", async (t) => {
  const problem = { code: "not-found", detail: "eips/203.0.113.10 does not exist", title: "", status: 404 };
  const users = ["fips/f", "eips/old", "eips/twin"];
  const flows = { total: 0, items: [] };
  const ports = { capacity: 64_512, destinations: [], headroom: 64_512 };
  const answers: Readonly<Record<string, object>> = {
    "/v1/inventory": { observed: true, addresses: [{ ip: "203.0.113.10", role: "eip", users }], subnets: [] },
    "/v1/eips/old/connections?limit=100": flows,
    "/v1/eips/203.0.113.11/connections?limit=100": flows,
    "/v1/eips/old/ports": ports,
  };
  const ctl = await serve(t, ({ url = "" }, response) => {
    const answer = answers[url];
    json(answer === undefined ? 404 : 200, answer ?? problem)({} as never, response as never);
  });
  t.match(await ctl.json("connections 203.0.113.10"), { eip: "old", total: 0 });
  t.match(await ctl.json("ports eips/203.0.113.10"), { eip: "old", capacity: 64_512 });
  t.match(
    await ctl.json("connections 203.0.113.11"),
    { eip: "203.0.113.11" },
    "an Eip of that name comes first",
  );
  t.match(await ctl.run("ports 203.0.113.12"), { code: 4, stderr: /does not exist/ });
  t.match(await ctl.run("ports nobody"), { code: 4 });
});

t.test("ports of many EIPs: those with the most flows are asked", async (t) => {
  const items = Array.from({ length: 201 }, (_, at) => ({ kind: "Eip", name: `e-${at}` }));
  const destination = {
    ...{ dst: "198.51.100.7", dport: 443, protocol: "tcp", live: 60_000, closing: 0, ratio: 0.93 },
    ...{ newPerSecond: 1, topClients: [], secondsTo80: null, secondsToFull: null, additionalEipsNeeded: 1 },
  };
  const ctl = await serve(t, ({ url = "" }, response) => {
    const answer = (body: unknown) => json(200, body)({} as never, response as never);
    if (url === "/v1/eips") return answer({ items });
    if (url.startsWith("/v1/flows/top"))
      return answer({ items: [{ eip: "e-200", ip: "203.0.113.200", live: 60_000, closing: 0 }] });
    const destinations = url === "/v1/eips/e-200/ports" ? [destination] : [];
    return answer({ capacity: 64_512, destinations, headroom: 64_512 });
  });
  const { code, stdout } = await ctl.run("ports");
  t.equal(code, 1, "one runs short");
  t.match(stdout, /^EIP .*\ne-200 +93%[\s\S]*\n1 more Eip with fewer flows not asked/);
});

t.test("events that are followed are in columns", async (t) => {
  let hasEnded = false;
  const ctl = await serve(t, (request, response) => {
    if (hasEnded)
      return json(403, { code: "forbidden", detail: "enough", title: "", status: 403 })(request, response);
    hasEnded = true;
    const time = "2026-01-01T12:00:00.000Z";
    const pass = JSON.stringify({
      time,
      converged: true,
      changed: 0,
      failed: 0,
      took: 0.1,
      reasons: ["api"],
    });
    const gone = JSON.stringify({ kind: "Fip", name: "fip-a", deleted: true });
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`id: e.1\nevent: pass\ndata: ${pass}\n\nid: e.2\nevent: object\ndata: ${gone}\n\n`);
  });
  const [head = "", ...lines] = (await ctl.run("events --follow")).stdout.trimEnd().split("\n");
  t.match(head, /^TIME +TYPE +OBJECT +WHAT$/);
  t.equal(lines.length, 2);
  for (const line of lines) t.match(line.slice(0, head.indexOf("WHAT")), / {2}$/, line);
});

t.test("events that are followed go on where they were, after the agent was away", async (t) => {
  const paths: (string | undefined)[] = [];
  const refusal = json(403, { code: "forbidden", detail: "enough", title: "", status: 403 });
  const ctl = await serve(t, (request, response) => {
    paths.push(request.url);
    if (paths.length === 3) return refusal(request, response);
    response.writeHead(200, { "content-type": "text/event-stream" });
    const number = paths.length;
    response.write(
      `: heartbeat\nid: e.${number}0\n\nid: e.${number}1\nevent: pass\ndata: {"number":${number}}\n\n`,
    );
    // Once it ends by itself, once it breaks off.
    setImmediate(() => (number === 1 ? response.end() : response.destroy()));
  });
  const { code, stdout, stderr } = await ctl.run("events --follow --kind eip -o json");
  t.match(stderr, /^natgwctl: the event stream broke off: .*; trying again\nnatgwctl: enough\n$/);
  t.equal(code, 4);
  t.match(
    stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line)),
    [
      { id: "e.11", number: 1 },
      { id: "e.21", number: 2 },
    ],
  );
  t.strictSame(
    paths,
    ["", "&since=e.11", "&since=e.21"].map((since) => `/v1/events?kind=eip${since}`),
  );
});

t.test("a watch of what is not Ready shows when it is, and nothing else", async (t) => {
  const object = (name: string, status: string) => ({
    kind: "Fip",
    name,
    spec: { eip: "eip-a", internalIp: "10.0.1.5" },
    revision: 1,
    status: {
      ready: status === "True",
      observedRevision: 1,
      conditions: [{ type: "Ready", status, reason: status }],
    },
  });
  const events = [
    object("a", "True"),
    object("b", "True"),
    object("b", "False"),
    { kind: "Fip", name: "a", deleted: true },
    { kind: "Fip", name: "b", deleted: true },
  ];
  let hasEnded = false;
  const ctl = await serve(t, (request, response) => {
    if (hasEnded)
      return json(403, { code: "forbidden", detail: "enough", title: "", status: 403 })(request, response);
    if (request.url === "/v1/fips")
      return json(200, { items: [object("a", "False"), object("b", "True")], eventId: "e.1" })(
        request,
        response,
      );
    hasEnded = true;
    const texts = events.map(
      (event, at) => `id: e.${at + 2}\nevent: object\ndata: ${JSON.stringify(event)}\n\n`,
    );
    return response.writeHead(200, { "content-type": "text/event-stream" }).end(texts.join(""));
  });
  const { stdout } = await ctl.run("get fips --ready=false --watch");
  t.same(
    stdout.split("\n").map((line) => line.split(/ +/).slice(0, 2).join(" ")),
    ["OBJECT READY", "fips/a False", "fips/a True", "fips/b False", "fips/b deleted", ""],
  );
});

t.test("an older agent: said clearly", async (t) => {
  const ctl = await serve(t, ({ url = "" }, response) => {
    const [path = ""] = url.split("?");
    json(404, { code: "not-found", detail: `${path} does not exist` })({} as never, response);
  });
  for (const line of ["explain --in eip-a --port 80", "events --follow", "ports eip-a"])
    t.match(
      await ctl.run(line),
      { code: 4, stderr: /does not serve GET \/v1\/.*: it is older than this natgwctl/ },
      line,
    );
});

t.test("hostile text never reaches the terminal, in any format", async (t) => {
  const object = {
    kind: "Fip",
    name: "fip-\u001b]0;owned\u0007",
    spec: { eip: "e\u0300\u009b31m", internalIp: "10.0.1.5\r\n\u2028" },
    revision: 2,
    status: {
      ready: false,
      observedRevision: 1,
      epoch: "e",
      conditions: [
        {
          type: "Ready",
          status: "False",
          reason: "Pending",
          message: "\u{1f600}\u0000",
          lastTransitionTime: "now",
        },
      ],
    },
  };
  const ctl = await serve(t, json(200, { items: [object] }));
  for (const format of ["table", "wide", "json", "yaml", "name"]) {
    const { stdout, code } = await ctl.run(`get fips -o ${format}`);
    t.equal(code, 0);
    t.match(stdout, /^[\x20-\x7e\n]+$/, format);
  }
  t.match((await ctl.run("get fips")).stdout, /Unknown/, "no pass has seen its last write: not False");
  const known = { ...object, status: { ...object.status, ready: null } };
  t.same(await ctl.json("get fips"), { items: [known] });
  t.same(await ctl.yaml("get fips"), { items: [known] });
});

t.test("a reader that goes away", async (t) => {
  const items = Array.from({ length: 20_000 }, (_, number) => ({
    kind: "Eip",
    name: `eip-${number}`,
    spec: { address: "203.0.113.10/24" },
    revision: 1,
    status: { ready: true, observedRevision: 1, epoch: "e", conditions: [] },
  }));
  const { socket } = await serve(t, json(200, { items }));
  const line = `"${process.execPath}" ${ctlSource} get eips --socket ${socket} | head -n 1; echo "\${PIPESTATUS[0]}"`;
  const child = spawn("bash", ["--norc", "-c", line], { stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  t.match(stdout, /^NAME +READY.*\n0\n$/);
  t.equal(stderr, "");
});

t.test("describe and delete --dry-run of an Eip with many users fit a screen", async (t) => {
  const users = Array.from({ length: 50 }, (_, at) => `dnats/d-${at}`);
  const status = { ready: true, observedRevision: 1, epoch: "e", conditions: [], usedBy: users };
  const eip = { kind: "Eip", name: "e", spec: { address: "203.0.113.10/24" }, revision: 1, status };
  const rules = users.map((_, at) => ({
    action: "remove",
    subsystem: "rule",
    text: `-D SHARED_DNAT ${at}.`,
  }));
  const changes = [
    ...rules,
    { action: "remove", subsystem: "address", text: "ip address del 203.0.113.10/24" },
  ];
  const none = { total: 0, items: [] };
  const ctl = await serve(t, (request, response) => {
    const { method, url = "" } = request;
    const preview = { changes, changesTotal: changes.length, flows: none };
    const body = method === "DELETE" ? preview : url.includes("/connections") ? none : eip;
    const isEip = url.startsWith("/v1/eips/");
    json(isEip ? 200 : 403, isEip ? body : { code: "forbidden", detail: "no", title: "", status: 403 })(
      request,
      response,
    );
  });
  const { stdout } = await ctl.run("describe eip e");
  t.match(
    stdout,
    /dnats\/d-9\n {2}dnats\/d-40\n[\s\S]*dnats\/d-49\n {2}and 30 more in the middle: -o wide lists all\n/,
  );
  t.match(
    stdout,
    /SHARED_DNAT 9\.\n.*SHARED_DNAT 41\.\n[\s\S]*ip address add 203[\s\S]*and 31 more in the middle/,
  );
  const wide = (await ctl.run("describe eip e -o wide")).stdout;
  t.match(wide, /SHARED_DNAT 20\./);
  t.notMatch(wide, /more in the middle/);
  t.equal((await ctl.json<{ kernel: { value: unknown[] } }>("describe eip e")).kernel.value.length, 51);
  const deleted = (await ctl.run("delete eip e --cascade --dry-run")).stdout;
  t.match(deleted, /^Would make 51 changes\n[\s\S]*and 31 more in the middle: -o wide lists all\n/);
  t.notMatch(deleted, /SHARED_DNAT 20\./);
});

t.test("a wait goes on while the agent is away, until its time is over", async (t) => {
  const object = (ready: boolean) => ({
    kind: "Fip",
    name: "f",
    spec: {},
    revision: 1,
    status: { ready, conditions: [] },
  });
  const answers = (...each: readonly RequestListener[]): RequestListener => {
    let asked = 0;
    return (request, response) => each[Math.min(asked++, each.length - 1)]?.(request, response);
  };
  const gone: RequestListener = (request) => request.socket.destroy();
  const back = await serve(
    t,
    answers(json(200, object(false)), gone, json(503, {}), json(200, object(true))),
  );
  t.match(await back.run("wait fip/f"), { code: 0, stdout: "fips/f: Ready\n" });
  const away = await serve(t, answers(json(200, object(false)), gone));
  t.match(await away.run("wait fip/f --timeout 300ms"), {
    code: 3,
    stdout: "",
    stderr: /Cannot reach the agent/,
  });
  const never = await serve(t, answers(gone, json(200, object(true))));
  t.match(await never.run("wait fip/f"), { code: 3 }, "an agent that was never there");
});

t.test("the version of natgwctl, whatever the agent answers", async (t) => {
  const dead = await new Natgwctl("/nonexistent/agent.sock", ctlSource).run("version -o json");
  t.match(JSON.parse(dead.stdout), { client: /^[0-9]/, agent: null, backend: null, epoch: null });
  t.match([dead.code, dead.stderr], [3, /^natgwctl: Cannot reach the agent/]);
  const ctl = await serve(t, json(403, { code: "forbidden", detail: "not you", title: "", status: 403 }));
  const refused = await ctl.run("version");
  t.match(refused, {
    code: 4,
    stdout: /^Client: +[0-9].*\nAgent: +Unknown\n/,
    stderr: /^natgwctl: not you\n/,
  });
  t.match((await ctl.run("version -o name")).stdout, /^[0-9.]+\n$/);
});

t.test("a bug report of another machine's agent that does not answer: 3, and no file", async (t) => {
  const directory = temporaryDirectory("natgwctl");
  const ctl = new Natgwctl("/nonexistent", ctlSource);
  const environment = { NATGW_STATE_DIR: directory };
  await writeFile(join(directory, "state.journal"), `${"x".repeat(17 << 20)}{"token":"abcdefgh"}`);
  const [away, here] = [join(directory, "away.tgz"), join(directory, "here.tgz")];
  t.match(await ctl.run(`bugreport -o ${away} --server http://127.0.0.1:1`, { environment }), {
    code: 3,
    stdout: "",
  });
  await t.rejects(readFile(away), { code: "ENOENT" });
  const local = await ctl.run(`bugreport -o ${here} -o json`, { environment });
  t.match([local.code, local.stderr], [3, /^natgwctl: Cannot reach the agent/]);
  const { file, agent, parts } = JSON.parse(local.stdout);
  t.match([file, agent], [here, null]);
  t.match(
    parts.filter(({ file }: { file: string }) => ["state.journal", "audit.log", "log.txt"].includes(file)),
    [{ size: 16 << 20 }, { error: /ENOENT/ }, { error: "only the agent knows it" }],
  );
  const text = gunzipSync(await readFile(here)).toString("latin1");
  t.match(text, /"token":"\[secret\]"/);
  t.notMatch(text, /abcdefgh/);
});

t.test("a full disk under the output", async (t) => {
  const { socket } = await serve(t, json(200, { items: [] }));
  const line = `"${process.execPath}" ${ctlSource} get eips -o json --socket ${socket} >/dev/full; echo "$?"`;
  const child = spawn("bash", ["--norc", "-c", line], { stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  t.equal(stdout, "2\n");
  t.match(stderr, /^natgwctl: Cannot write the output: ENOSPC: .*\n$/);
});

t.test("a full disk under standard error: the exit code stays", async (t) => {
  for (const [words, code] of [
    ["bogus", "2\n"],
    ["status --socket /none", "3\n"],
  ] as const) {
    const line = `"${process.execPath}" ${ctlSource} ${words} 2>/dev/full; echo "$?"`;
    const child = spawn("bash", ["--norc", "-c", line], { stdio: ["ignore", "pipe", "pipe"] });
    t.equal(await text(child.stdout), code, words);
  }
});

t.test("Ctrl-C while a write waits", async (t) => {
  const asked = Promise.withResolvers<void>();
  const { socket } = await serve(t, ({ method, url = "" }, response) => {
    const answer = (body: unknown) => json(200, body)({} as never, response.setHeader("etag", '"7"'));
    if (method === "GET" && url === "/v1/desired")
      return answer({ generation: 1, gateway: {}, eips: [], fips: [], snats: [], dnats: [], routes: [] });
    if (url.includes("dryRun"))
      return answer({ changes: [], changesTotal: 0, flows: { total: 0, items: [] } });
    if (method === "POST") asked.resolve();
    if (url === "/v1/status") return answer({ revision: { desired: 8, applied: 7 }, objects: {} });
    return undefined;
  });
  const child = spawn(process.execPath, [ctlSource, "apply", "--yes", "-f", "-", "--socket", socket], {
    stdio: "pipe",
  });
  child.stdin.end('{"eips":[{"name":"a","address":"203.0.113.10/24"}]}');
  const [stderr, ended] = [text(child.stderr), once(child, "close")];
  await asked.promise;
  child.kill("SIGINT");
  t.same(await ended, [130, null]);
  t.match(await stderr, /interrupted: (revision 8 is stored|whether it was stored is unknown)/);
});

t.test("over TCP: a token from a file", async (t) => {
  const seen: (string | undefined)[] = [];
  const server = createServer(({ headers }, response) => {
    seen.push(headers.authorization);
    json(200, { changes: [], total: 0, degraded: [] })({} as never, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const directory = temporaryDirectory("natgwctl");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  await writeFile(join(directory, "token"), "abc\n");
  const { port } = server.address() as { port: number };
  const ctl = new Natgwctl("/nowhere", ctlSource);
  t.match(await ctl.run(`plan --server http://127.0.0.1:${port} --token-file ${directory}/token`), {
    code: 0,
  });
  t.ok(seen.length > 0 && seen.every((one) => one === "Bearer abc"));
  t.match(await ctl.run(`plan --server http://127.0.0.1:${port} --token-file ${directory}/nowhere`), {
    code: 2,
    stderr: /^natgwctl: Cannot read the bearer token: ENOENT.*nowhere'\n$/,
  });
  t.match(await ctl.run(`plan --server https://127.0.0.1:${port} --ca ${directory}/token`), {
    code: 2,
    stderr: /^natgwctl: Cannot use the CA in .*token/,
  });
});

t.test("help, by itself and of a command", async (t) => {
  const ctl = new Natgwctl("/nonexistent", ctlSource);
  const all = await ctl.run("help");
  t.same(all, await ctl.run("--help"));
  t.match(all, { code: 0, stderr: "", stdout: /^Usage: natgwctl \[options\] \[command\]\n/ });
  for (const name of ["status", "top"]) {
    const one = await ctl.run(`help ${name}`);
    t.same(one, await ctl.run(`${name} --help`));
    t.match(one, { code: 0, stdout: new RegExp(`^Usage: natgwctl ${name} .*\nExamples:\n`, "s") });
  }
  t.match(await ctl.run("help nonsense"), { code: 2, stdout: "" });
});
