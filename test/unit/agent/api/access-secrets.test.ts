/** No token, and no hash of one, in what the API logs or answers, at the most talkative log level. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type RequestOptions, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { serializeError } from "../../../../agent/log.ts";
import { testApi } from "../../../support/api-fakes.ts";

const directory = mkdtempSync(join(tmpdir(), "natgw-secrets-"));
t.teardown(() => rmSync(directory, { recursive: true }));

const tokens = { right: "r1ght-0f-this-test", reader: "r3ader-0f-this-test", wrong: "wr0ng-0f-this-test" };
const sha256 = (token: string) => createHash("sha256").update(token).digest();

/** Everything of the answer, as text. */
function send(options: RequestOptions, token: string, scheme = "Bearer"): Promise<string> {
  const headers = { ...options.headers, authorization: `${scheme} ${token}` };
  return new Promise((resolve, reject) => {
    const sent = request({ agent: false, ...options, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () => resolve(`${response.statusCode} ${response.rawHeaders.join("\n")}\n${text}`));
    });
    sent.on("error", reject);
    sent.end();
  });
}

t.test("used rightly, wrongly, and while the file is not valid", async (t) => {
  const file = join(directory, "tokens");
  const line = (name: string, role: string, token: string) =>
    `${name}:${role}:${sha256(token).toString("hex")}\n`;
  writeFileSync(file, line("controller", "write", tokens.right) + line("prometheus", "read", tokens.reader));
  const log: string[] = [];
  const { api, now } = testApi(
    { listen: [{ host: "127.0.0.1", port: 0 }], tokenFile: file },
    {
      log: pino(
        { level: "trace", serializers: { err: serializeError } },
        { write: (text: string) => log.push(text) },
      ),
    },
  );
  t.teardown(() => api.close());
  await api.listen();
  const [host, port] = (api.addresses[1] ?? "").split(":");
  const where = { host, port: Number(port) };
  const answers: string[] = [];
  const reads = api.routes.filter(({ method, url }) => method === "GET" && url !== "/v1/events");
  t.ok(reads.length > 15);
  for (const { url } of reads)
    for (const token of [tokens.reader, tokens.wrong]) {
      answers.push(await send({ ...where, path: url.replaceAll(/:\w+/g, "x") }, token));
      now.bootMs += 1_000;
    }
  for (const token of Object.values(tokens))
    answers.push(await send({ ...where, method: "DELETE", path: "/v1/eips/x" }, token));
  answers.push(await send({ ...where, path: "/v1/eips" }, tokens.right, "Basic"));
  answers.push(await send({ ...where, path: "/v1/eips", headers: { origin: "x" } }, tokens.right));
  // A line that is not understood may be a token, too.
  writeFileSync(file, `${tokens.right}\n${tokens.wrong}\n`);
  now.bootMs += 10_000;
  answers.push(await send({ ...where, path: "/v1/status" }, tokens.right));
  t.match(api.degradations, [{ reason: "TokenFileInvalid" }]);
  for (let guess = 0; guess < 30; guess++)
    answers.push(await send({ ...where, path: "/v1/status" }, tokens.wrong));

  for (const status of ["200", "401", "403", "404", "429"])
    t.ok(
      answers.some((answer) => answer.startsWith(status)),
      status,
    );
  const degraded = JSON.stringify(api.degradations);
  const everything = [...log, ...answers, degraded].join("\n");
  t.match(everything, /token:prometheus/, "who it was is told");
  for (const token of Object.values(tokens)) {
    const digest = sha256(token);
    for (const secret of [
      token,
      digest.toString("hex"),
      digest.toString("base64"),
      digest.toString("latin1"),
    ])
      t.notOk(everything.includes(secret), secret);
  }
});
