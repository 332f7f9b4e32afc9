/** No token, and no hash of one, in what the API logs or answers, at the most talkative log level. */
import { writeFileSync } from "node:fs";
import { type RequestOptions, request } from "node:http";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { serializeError } from "../../../../agent/log.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { expectNoSecret, plantToken, tokenLine } from "../../../support/secrets.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const directory = temporaryDirectory("secrets");

const tokens = {
  right: plantToken("controller"),
  reader: plantToken("prometheus"),
  wrong: plantToken("nobody"),
};

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
  writeFileSync(file, tokenLine("controller", "write") + tokenLine("prometheus", "read"));
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
  t.doesNotThrow(() => expectNoSecret("a log or an answer", everything));
});
