/** No token, and no hash of one, in anything that the agent writes or answers, at the most talkative log level. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t from "tap";
import { diagnosticParts } from "../../agent/kernel/diagnostics.ts";
import { Gateway } from "../support/gateway.ts";
import { eip, gateway } from "../support/targets.ts";

const tokens = { right: "r1ght-0f-this-test", reader: "r3ader-0f-this-test", wrong: "wr0ng-0f-this-test" };
const sha256 = (token: string) => createHash("sha256").update(token).digest();
const url = "http://127.0.0.1:9477";

t.test("secrets", async (t) => {
  const gw = await Gateway.make(t, "nftables", {}, { isSilent: true });
  const directory = join(dirname(gw.agentOptions.socketPath), "secret");
  await mkdir(directory);
  const tokenFile = join(directory, "tokens");
  const line = (name: string, role: string, token: string) =>
    `${name}:${role}:${sha256(token).toString("hex")}\n`;
  await writeFile(
    tokenFile,
    line("controller", "write", tokens.right) + line("prometheus", "read", tokens.reader),
  );
  await gw.startAgent({ NATGW_LOG_LEVEL: "trace", NATGW_TOKEN_FILE: tokenFile }).whenReady();

  const ask = (token: string, path: string, ...options: readonly string[]) =>
    gw.lab.exec("gw", [
      ...["curl", "--silent", "--write-out", "\n%{http_code}\n", "--max-time", "10", ...options],
      ...["--header", `authorization: Bearer ${token}`, url + path],
    ]);
  const put = ["--request", "PUT", "--header", "content-type: application/json", "--data"];
  const body = JSON.stringify({
    generation: 1,
    gateway,
    eips: [eip(10)],
    fips: [],
    snats: [],
    dnats: [],
    routes: [],
  });
  const answers = [
    await ask(tokens.right, "/v1/desired?wait=5s", ...put, body),
    await ask(tokens.reader, "/v1/desired", ...put, body),
    await ask(tokens.wrong, "/v1/desired", ...put, body),
    await ask(tokens.wrong, "/v1/nowhere"),
    await ask(tokens.right, "/v1/eips", "--header", "origin: http://x.example"),
    await ask(tokens.right, "/v1/eips", "--request", "BREW"),
  ];
  t.same(
    answers.map((answer) => answer.trim().split("\n").at(-1)),
    ["200", "403", "401", "401", "403", "400"],
  );
  // A line that is not understood may be a token, too.
  await writeFile(tokenFile, `${tokens.right}\n${tokens.wrong}\n`);
  for (let state = ""; !state.includes("TokenFileInvalid"); ) state = await ask(tokens.right, "/v1/status");

  const openapi = JSON.parse((await ask(tokens.reader, "/openapi.json")).replace(/\n200\n$/, ""));
  for (const path of Object.keys(openapi.paths)) {
    if (openapi.paths[path].get === undefined || path.includes("{") || path === "/v1/events") continue;
    answers.push(await ask(tokens.reader, path));
  }
  for (const part of diagnosticParts) answers.push(await ask(tokens.reader, `/v1/diagnostics/${part}`));
  await gw.agent.stop();

  const { stateDirectory } = gw.agentOptions;
  const files = await readdir(stateDirectory, { recursive: true, withFileTypes: true });
  const stored = await Promise.all(
    files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), "latin1")),
  );
  const everything = [gw.agent.log, ...answers, ...stored].join("\n");
  t.match(everything, /token:prometheus|"name":"controller"/, "who it was is told");
  t.ok(gw.agent.log.length > 1_000 && stored.length > 0 && answers.length > 15);
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
