import { METHODS, request } from "node:http";
import t from "tap";
import { RouteTable } from "../../../../agent/api/route-table.ts";
import { testApi } from "../../../support/api-fakes.ts";

interface Answer {
  readonly status: number;
  readonly allow: string | undefined;
  readonly code: unknown;
}

/** `connection: close`, so that an answer belongs to one request. */
function send(
  socketPath: string,
  method: string,
  path: string,
  headers = {},
  body?: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { socketPath, method, path, agent: false, headers };
    const sent = request(options, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () => {
        const isProblem = response.headers["content-type"]?.startsWith("application/problem+json");
        const { allow } = response.headers;
        resolve({
          status: response.statusCode ?? 0,
          allow,
          code: isProblem && text !== "" ? JSON.parse(text).code : undefined,
        });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** CONNECT requests a tunnel: Node closes the connection. */
const methods = METHODS.filter((method) => method !== "CONNECT");

t.test("every method that Node parses, at every path: served, 405 with Allow, or 404", async (t) => {
  const { api, socketPath, lines } = testApi({ rateLimit: { max: 1_000_000, windowMs: 10_000 } });
  t.teardown(() => api.close());
  await api.listen();
  const table = Map.groupBy(api.routes, ({ url }) => url);
  t.ok(table.size > 20);
  for (const [url, routes] of table) {
    const served = new Set(routes.map(({ method }) => method));
    const path = url.replaceAll(/:\w+/g, "x");
    for (const method of methods) {
      if (served.has(method)) continue;
      const answer = await send(socketPath, method, path);
      const wanted = { status: 405, allow: [...served].sort().join(", "), code: "method-not-allowed" };
      t.strictSame(answer, method === "HEAD" ? { ...wanted, code: undefined } : wanted, `${method} ${url}`);
    }
  }
  for (const method of methods) {
    for (const path of ["/nowhere", "/v1/eips/a/b/c", "/v1/eips//connections", "/", "*"]) {
      if (path === "*" && method !== "OPTIONS") continue;
      const { status, allow } = await send(socketPath, method, path);
      t.strictSame([status, allow], [404, undefined], `${method} ${path}`);
    }
  }
  t.same(
    lines.filter(({ level }) => Number(level) > 30),
    [],
    "no fault of the agent is logged",
  );
});

t.test("a body, of whatever type, changes nothing about it", async (t) => {
  const { api, socketPath } = testApi();
  t.teardown(() => api.close());
  await api.listen();
  for (const type of ["application/json", "text/yaml", "nonsense", "application/json; charset"]) {
    const headers = { "content-type": type };
    for (const [method, path, status] of [
      ["QUERY", "/v1/eips", 405],
      ["PATCH", "/v1/eips/a", 405],
      ["POST", "/nowhere", 404],
    ] as const) {
      t.equal((await send(socketPath, method, path, headers, "{")).status, status, `${method} ${type}`);
    }
  }
});

t.test("methods of a path", async (t) => {
  const { app } = testApi();
  const table = new RouteTable();
  table.watch(app);
  await app.ready();
  t.same(table.methodsOf("/v1/eips/eip-a"), ["DELETE", "GET", "HEAD", "PUT"]);
  t.same(table.methodsOf("/v1/eips/"), []);
  t.same(table.methodsOf("/v1/eips"), ["GET", "HEAD"]);
  await app.close();
});
