/** Each row of the tables of docs/security.md, tried; and each place in the code that refuses is reached by a row. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type RequestOptions, request } from "node:http";
import { request as secureRequest } from "node:https";
import { createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Places } from "../../../../agent/api/answers/places.ts";
import { ByteBudget } from "../../../../agent/api/bounds/byte-budget.ts";
import { withPorts } from "../../../../agent/api/guarded-ports.ts";
import { refuseUnsafe } from "../../../../agent/api/listen-address.ts";
import { readInvocation } from "../../../../agent/config.ts";
import { InstanceLock } from "../../../../agent/instance-lock.ts";
import { lockDirectory } from "../../../../agent/store/directory-lock.ts";
import { errorCodes, GatewayError } from "../../../../lib/model/errors.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { certificates } from "../../../support/certificates.ts";
import { refusalSites } from "../../../support/refusal-sites.ts";
import { plantToken } from "../../../support/secrets.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const reader = plantToken("reader");
const writer = plantToken("writer");
const directory = temporaryDirectory("refusals");

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

type Settings = NonNullable<Parameters<typeof testApi>[0]>;
const local = [{ host: "127.0.0.1", port: 0 }] as const;
const sha256 = (token: string) => createHash("sha256").update(token).digest("hex");
const tokenFile = () => file("tokens", `ci:write:${sha256(writer)}\nprom:read:${sha256(reader)}\n`);

/** What a start with these settings throws. */
async function refusedStart(settings: Settings): Promise<unknown> {
  const { api } = testApi(settings);
  try {
    await api.listen();
  } catch (error) {
    return error;
  } finally {
    await api.close();
  }
  return undefined;
}

/** What a start or a request was refused with, for the places in the code. */
const said: string[] = [];

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "";
}

function thrownBy(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function refusedSetting(
  environment: Readonly<Record<string, string>>,
  argv: readonly string[] = [],
): unknown {
  try {
    readInvocation(argv, environment, "0.0.0");
  } catch (error) {
    return error;
  }
  return undefined;
}

function refusedAddress(host: string, port = 9477): unknown {
  const interfaces = { net1: ["203.0.113.2"] };
  try {
    refuseUnsafe([{ host, port }], interfaces, "net1", ["203.0.113.10"]);
  } catch (error) {
    return error;
  }
  return undefined;
}

const starts: Readonly<Record<string, () => unknown>> = {
  "`NATGW_LISTEN` with a wildcard": () => {
    said.push(messageOf(refusedAddress("0.0.0.0")));
    return refusedSetting({ NATGW_LISTEN: "0.0.0.0:9477" });
  },
  "`NATGW_LISTEN` with a host name other than `localhost`": () =>
    refusedSetting({ NATGW_LISTEN: "gateway.example:9477" }),
  "`NATGW_LISTEN` with an address of the external interface": () => refusedAddress("203.0.113.2"),
  "`NATGW_LISTEN` with an EIP, however it is bound": () => refusedAddress("203.0.113.10"),
  "`NATGW_LISTEN` with BGP's port 179": () => refusedAddress("10.0.1.254", 179),
  "`NATGW_LISTEN` beyond loopback without a token file or a CA of clients": () =>
    refusedStart({ listen: [{ host: "10.0.1.254", port: 9477 }] }),
  "a port that is taken, or an address that cannot be had": async () => {
    said.push(messageOf(await thrownBy(withPorts([{ host: "192.0.2.1", port: 0 }]))));
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((done) => server.once("listening", done));
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    const error = await refusedStart({ listen: [{ host: "127.0.0.1", port }] });
    server.close();
    return error;
  },
  "a token file that cannot be read": () => refusedStart({ tokenFile: join(directory, "nowhere") }),
  "a token file without a token, or with a line that is not understood": () =>
    refusedStart({ tokenFile: file("bad-tokens", `ci:reed:${sha256("x")}`) }),
  "a list of clients that is not understood": () =>
    refusedStart({
      tls: { certFile: "/c", keyFile: "/k", clientCaFile: "/a", allowFile: file("bad-list", "admin:dns:a") },
    }),
  "a certificate, key or CA that cannot be read or do not match": () =>
    refusedStart({ tls: { certFile: "/nowhere/c", keyFile: "/nowhere/k", clientCaFile: undefined } }),
  "a certificate without its key, a CA without both, a list without a CA": () =>
    [
      { NATGW_TLS_ALLOW_FILE: "/list" },
      { NATGW_TLS_CLIENT_CA_FILE: "/ca" },
      { NATGW_TLS_KEY_FILE: "/key" },
      { NATGW_TLS_CERT_FILE: "/cert" },
    ]
      .map((environment) => refusedSetting(environment))
      .reduce((last, error) => {
        said.push(messageOf(last));
        return error;
      }),
  "`NATGW_SOCKET_UIDS` with what is no number of a user": () => refusedSetting({ NATGW_SOCKET_UIDS: "root" }),
  "`NATGW_SOCKET` names a file that is no socket": () => refusedStart({ socketPath: file("plain", "data") }),
  "`NATGW_SOCKET` in a directory that cannot be made, or with a path that cannot be looked at": async () => {
    const below = file("no-directory", "");
    said.push(messageOf(await refusedStart({ socketPath: `${directory}/${"long".repeat(100)}` })));
    return refusedStart({ socketPath: `${below}/agent.sock` });
  },
  "an unknown setting or flag": () => {
    said.push(messageOf(refusedSetting({}, ["--nowhere"])));
    return refusedSetting({ NATGW_NOWHERE: "1" });
  },
  "a value that a setting does not allow": () => refusedSetting({ NATGW_DATAPLANE: "ebtables" }),
  "one interface for both networks": () => refusedSetting({ NATGW_EXTERNAL_INTERFACE: "eth0" }),
};

/** Starts that end with `already-running`. */
const rivals: Readonly<Record<string, () => unknown>> = {
  "another process answers on the socket": async () => {
    const { api, socketPath } = testApi();
    await api.listen();
    const error = await refusedStart({ socketPath });
    await api.close();
    return error;
  },
  "another agent is in the network namespace": async () => {
    const name = `natgw-refusals-${process.pid}`;
    const lock = new InstanceLock(name);
    await lock.start();
    const error = await thrownBy(new InstanceLock(name).start());
    await lock.stop();
    return error;
  },
  "another agent uses the state directory": async () => {
    const path = join(directory, "state");
    const lock = await lockDirectory(path);
    const error = await thrownBy(lockDirectory(path));
    await lock.handle.close();
    return error;
  },
};

interface Answer {
  readonly status: number;
  readonly code: unknown;
  readonly detail: string;
}

function send(options: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const isSecure = "rejectUnauthorized" in options;
    const sent = (isSecure ? secureRequest : request)(
      { agent: false, path: "/v1/eips", ...options },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => {
          text += piece;
        });
        response.on("end", () => {
          const { code, detail } = JSON.parse(text);
          said.push(detail);
          resolve({ status: response.statusCode ?? 0, code, detail });
        });
      },
    );
    sent.on("error", reject);
    sent.end();
  });
}

/** Answers a request by TCP to an API with these settings, as the last of `times`. */
async function over(
  t: Test,
  settings: Settings,
  options: RequestOptions,
  times = 1,
  parts: Parameters<typeof testApi>[1] = {},
): Promise<Answer> {
  const { api } = testApi({ listen: local, ...settings }, parts);
  t.teardown(() => api.close());
  await api.listen();
  const [host, port] = (api.addresses[1] ?? "").split(":");
  for (let time = 1; time < times; time++) await send({ host, port: Number(port), ...options });
  return send({ host, port: Number(port), ...options });
}

/** The answer that an error becomes. */
async function answerTo(work: Promise<unknown>): Promise<Answer> {
  const error = await thrownBy(work);
  if (!(error instanceof GatewayError)) throw new Error("it was not refused", { cause: error });
  said.push(error.message);
  return { status: errorCodes[error.code].status, code: error.code, detail: error.message };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

const requests: Readonly<Record<string, (t: Test) => Promise<Answer>>> = {
  "without a token, or with a wrong one": async (t) => {
    t.match(await over(t, { tokenFile: tokenFile() }, {}), { status: 401 });
    return over(t, { tokenFile: tokenFile() }, { headers: bearer(sha256(writer)) });
  },
  "a write with the role `read`": (t) =>
    over(t, { tokenFile: tokenFile() }, { method: "DELETE", path: "/v1/eips/a", headers: bearer(reader) }),
  "by a user that is not in `NATGW_SOCKET_UIDS`": async (t) => {
    const { api, socketPath } = testApi({ socketUids: new Set([4_242]) });
    t.teardown(() => api.close());
    await api.listen();
    return send({ socketPath });
  },
  "with the header `Origin`: from a web page": (t) =>
    over(t, {}, { headers: { origin: "http://x.example" } }),
  "on loopback without credentials, with a foreign `Host`": (t) =>
    over(t, {}, { headers: { host: "x.example" } }),
  "by TCP, to a path of the socket alone": (t) =>
    over(t, {}, { method: "POST", path: "/v1/kube-ovn/nat-gateway", headers: { host: "localhost" } }),
  "on loopback without credentials, the status page": (t) => {
    const page = [{ path: "/ui", contentType: "text/html", text: "", etag: '"x"' }];
    return over(t, {}, { path: "/ui" }, 1, { page });
  },
  "from a browser by the socket, with a foreign `Host`": async (t) => {
    const { api, socketPath } = testApi();
    t.teardown(() => api.close());
    await api.listen();
    return send({ socketPath, headers: { "user-agent": "Mozilla/5.0", host: "x.example" } });
  },
  "without a certificate that the CA signed and the list of clients has": (t) => {
    const { cert, key } = certificates(directory)("server");
    const tls = {
      certFile: cert,
      keyFile: key,
      clientCaFile: cert,
      allowFile: file("list", "read:dns:a.example"),
    };
    return over(t, { tls }, { rejectUnauthorized: false } as RequestOptions);
  },
  "after too many failures": (t) => over(t, { tokenFile: tokenFile() }, { headers: bearer("guess") }, 21),
  "after more than 20,000 requests in 10 s": (t) =>
    over(t, { rateLimit: { max: 2, windowMs: 10_000 } }, {}, 3),
  "while too many connections are busy": (t) => over(t, { connections: { most: 0, reserved: 1 } }, {}),
  "for events, while 64 readers are connected": (t) =>
    over(t, { readers: { most: 0 } }, { path: "/v1/events" }),
  "for a long answer, while 32 are in progress": async () => {
    const places = new Places({ most: 1, maxIdleMs: 10_000, waitMs: 1 });
    const { signal } = new AbortController();
    const place = await places.take(signal);
    const answer = await answerTo(places.take(signal));
    place.release();
    return answer;
  },
  "with a large body, while others hold all the memory for bodies": async () => {
    const budget = new ByteBudget(1, 1);
    const { signal } = new AbortController();
    await budget.take(1, signal);
    return answerTo(budget.take(1, signal));
  },
};

/** What is not refused at the edge: the tests of these places. */
const elsewhere: Readonly<Record<string, string>> = {
  "agent/reconciler/operations/shared-reading.ts":
    "test/unit/agent/reconciler/operations/shared-reading.test.ts",
  "agent/reconciler/operations/dry-run.ts": "test/unit/agent/reconciler/operations/dry-run.test.ts",
};

/** The first two cells of the rows below a heading. */
function rowsBelow(heading: string): readonly (readonly [what: string, answer: string])[] {
  const [, text = ""] = readFileSync("docs/security.md", "utf8").split(`\n### ${heading}\n`);
  const [section = ""] = text.split(/\n##/);
  return Array.from(
    section.matchAll(/^\| (.+?) \| (.+?) \|/gm),
    ([, what = "", answer = ""]) => [what, answer] as const,
  )
    .slice(1)
    .filter(([what]) => !what.startsWith("---"));
}

t.test("refused starts", async (t) => {
  t.strictSame(
    rowsBelow("Refused starts").map(([what]) => what),
    [...Object.keys(starts), ...Object.keys(rivals)],
  );
  for (const [what, start] of Object.entries({ ...starts, ...rivals })) {
    const error = await start();
    t.match(error, { code: what in rivals ? "already-running" : "bad-config" }, what);
    t.notMatch(messageOf(error), /\n/, "one line");
    said.push(messageOf(error));
  }
});

t.test("refused requests", async (t) => {
  const rows = rowsBelow("Refused requests");
  t.strictSame(
    rows.map(([what]) => what),
    Object.keys(requests),
  );
  for (const [what, answer] of rows) {
    const { status, code } = (await requests[what]?.(t)) ?? {};
    t.equal(`${status} \`${code}\``, answer, what);
  }
});

t.test("no place in the code refuses anything else", async (t) => {
  const files = readdirSync("agent", { recursive: true, encoding: "utf8" })
    .map((path) => `agent/${path}`)
    .filter((path) => path.endsWith(".ts") && !path.startsWith("agent/cli/"));
  const sites = refusalSites(files, [
    "bad-config",
    "already-running",
    "unauthorized",
    "forbidden",
    "rate-limited",
    "overloaded",
  ]);
  t.ok(sites.length > 30, String(sites.length));
  for (const { file: path, text, pattern } of sites) {
    const test = elsewhere[path];
    if (test === undefined)
      t.ok(
        said.some((message) => pattern.test(message)),
        `${path}: ${text}`,
      );
    else t.match(readFileSync(test, "utf8"), /code: "overloaded"/, `${path}: ${text}`);
  }
});
