/** Who gets the status page, and with which headers. */
import { writeFileSync } from "node:fs";
import * as http from "node:http";
import { join } from "node:path";
import t, { type Test } from "tap";
import { buildPage } from "../../../../../scripts/page.ts";
import { testApi } from "../../../../support/api-fakes.ts";
import { temporaryDirectory } from "../../../../support/temporary-directory.ts";

const directory = temporaryDirectory("page");
const tokenFile = join(directory, "token");
writeFileSync(tokenFile, "secret\n");
const page = await buildPage();
const loopback = [{ host: "127.0.0.1", port: 0 }] as const;

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

async function listening(t: Test, settings: Parameters<typeof testApi>[0]) {
  const { api } = testApi({ listen: loopback, ...settings }, { page });
  t.teardown(() => api.close());
  await api.listen();
  const [socketPath, tcp = ""] = api.addresses;
  const ask = (where: "socket" | "tcp", path: string, headers = {}): Promise<Answer> =>
    get(
      where === "socket"
        ? { socketPath, path, headers }
        : { host: "127.0.0.1", port: tcp.split(":")[1], path, headers },
    );
  return ask;
}

function get(options: http.RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.get({ agent: false, ...options }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      const body = Buffer.concat(chunks).toString("utf8");
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
    });
    request.on("error", reject);
  });
}

t.test("its files need no token, on the socket and beside a token", async (t) => {
  const ask = await listening(t, { tokenFile });
  for (const where of ["socket", "tcp"] as const) {
    for (const { path, contentType, text } of page) {
      const { status, headers, body } = await ask(where, path);
      t.equal(status, 200, `${where} ${path}`);
      t.equal(headers["content-type"], contentType);
      t.equal(body, text);
      const policy = String(headers["content-security-policy"]);
      t.match(policy, /default-src 'none'.*frame-ancestors 'none'.*require-trusted-types-for 'script'/);
      t.notMatch(policy, /unsafe|\*|https?:|data:/);
      t.match(headers, { "x-content-type-options": "nosniff", "cache-control": "no-cache" });
      t.equal((await ask(where, path, { "if-none-match": headers.etag })).status, 304);
    }
    t.match(await ask(where, "/ui/"), { status: 308, headers: { location: "../ui" } });
    t.match(await ask(where, "/ui/other"), { status: where === "tcp" ? 401 : 404 });
  }
  t.match(await ask("tcp", "/v1/status"), { status: 401 }, "what it shows does");
  t.match(await ask("tcp", "/ui", { origin: "http://example.com" }), { status: 403 });
});

t.test("it is not served where there is no token", async (t) => {
  const ask = await listening(t, {});
  for (const { path } of page)
    t.match(await ask("tcp", path), { status: 403, body: "status page is served on" }, path);
  t.match(await ask("socket", "/ui"), { status: 200 });
});

t.test("an agent without a page has no such path", async (t) => {
  const { api } = testApi();
  t.teardown(() => api.close());
  t.match(await api.app.inject("/ui"), { statusCode: 404 });
});

t.test("on the socket, a browser must come as localhost (a port that is forwarded to it)", async (t) => {
  const ask = await listening(t, {});
  const browser = { "user-agent": "Mozilla/5.0 (X11; Linux x86_64)" };
  for (const path of ["/ui", "/v1/status"]) {
    for (const host of ["localhost:9477", "127.0.0.1:9477", "[::1]:9477"])
      t.match(await ask("socket", path, { ...browser, host }), { status: 200 }, host);
    for (const host of ["evil.example", "evil.example:9477", "localhost.evil.example"])
      t.match(await ask("socket", path, { ...browser, host }), { status: 403 }, `"${host}"`);
    t.match(
      await ask("socket", path, { host: "agent" }),
      { status: 200 },
      "other clients name it as they like",
    );
  }
});

t.test("the page has nothing inline and nothing from elsewhere", async (t) => {
  const [html, script] = [
    page.find(({ path }) => path === "/ui")?.text ?? "",
    page.find(({ path }) => path === "/ui/app.js")?.text ?? "",
  ];
  t.notMatch(html, /\son\w+=|\sstyle=|<style|<script(?![^>]* src="ui\/app\.js")|https?:/);
  t.notMatch(script, /innerHTML|insertAdjacentHTML|document\.write|eval\(/);
  // A namespace's name looks like an address.
  t.notMatch(script.replaceAll("http://www.w3.org/2000/svg", ""), /https?:/);
});
