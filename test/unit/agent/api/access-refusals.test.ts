/** Each row of the tables of docs/security.md, tried. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type RequestOptions, request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { refuseUnsafe } from "../../../../agent/api/listen-address.ts";
import { readInvocation } from "../../../../agent/config.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { plantToken } from "../../../support/secrets.ts";

const reader = plantToken("reader");
const writer = plantToken("writer");
const directory = mkdtempSync(join(tmpdir(), "natgw-refusals-"));
t.teardown(() => rmSync(directory, { recursive: true }));

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

function refusedSetting(environment: Readonly<Record<string, string>>): unknown {
  try {
    readInvocation([], environment, "0.0.0");
  } catch (error) {
    return error;
  }
  return undefined;
}

function refusedAddress(host: string, port = 9477): unknown {
  const interfaces = { net1: [{ address: "203.0.113.2" }] };
  try {
    refuseUnsafe([{ host, port }], interfaces, "net1", ["203.0.113.10"]);
  } catch (error) {
    return error;
  }
  return undefined;
}

const starts: Readonly<Record<string, () => unknown>> = {
  "`NATGW_LISTEN` with a wildcard": () => refusedSetting({ NATGW_LISTEN: "0.0.0.0:9477" }),
  "`NATGW_LISTEN` with a name": () => refusedSetting({ NATGW_LISTEN: "gateway.example:9477" }),
  "`NATGW_LISTEN` with an address of the external interface": () => refusedAddress("203.0.113.2"),
  "`NATGW_LISTEN` with an EIP, however it is bound": () => refusedAddress("203.0.113.10"),
  "`NATGW_LISTEN` with BGP's port 179": () => refusedAddress("10.0.1.254", 179),
  "`NATGW_LISTEN` beyond loopback without a token file or a CA of clients": () =>
    refusedStart({ listen: [{ host: "10.0.1.254", port: 9477 }] }),
  "a port that is taken": async () => {
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
    refusedSetting({ NATGW_TLS_ALLOW_FILE: "/list" }) && refusedSetting({ NATGW_TLS_CERT_FILE: "/cert" }),
  "`NATGW_SOCKET_UIDS` with what is no number of a user": () => refusedSetting({ NATGW_SOCKET_UIDS: "root" }),
  "`NATGW_SOCKET` names a file that is no socket": () => refusedStart({ socketPath: file("plain", "data") }),
};

interface Answer {
  readonly status: number;
  readonly code: unknown;
}

function send(options: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ agent: false, path: "/v1/eips", ...options }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, code: JSON.parse(text).code }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

/** Answers a request by TCP to an API with these settings, as the last of `times`. */
async function over(t: Test, settings: Settings, options: RequestOptions, times = 1): Promise<Answer> {
  const { api } = testApi({ listen: local, ...settings });
  t.teardown(() => api.close());
  await api.listen();
  const [host, port] = (api.addresses[1] ?? "").split(":");
  for (let time = 1; time < times; time++) await send({ host, port: Number(port), ...options });
  return send({ host, port: Number(port), ...options });
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
  "after too many failures": (t) => over(t, { tokenFile: tokenFile() }, { headers: bearer("guess") }, 21),
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
    Object.keys(starts),
  );
  for (const [what, start] of Object.entries(starts)) {
    const error = await start();
    t.match(error, { code: "bad-config" }, what);
    t.notMatch(error instanceof Error ? error.message : "", /\n/, "one line");
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
