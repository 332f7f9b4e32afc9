/** No token, and no hash of one, in anything that the agent writes or answers, at the most talkative log level. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { diagnosticParts } from "../../agent/kernel/diagnostics.ts";
import { Gateway } from "../support/gateway.ts";
import { expectNoSecret, plantToken, tokenLine } from "../support/secrets.ts";
import { eip, gateway } from "../support/targets.ts";

const tokens = {
  right: plantToken("controller"),
  reader: plantToken("prometheus"),
  wrong: plantToken("nobody"),
};
const url = "http://127.0.0.1:9477";

t.test("secrets", async (t) => {
  const gw = await Gateway.make(t, "nftables", {}, { isSilent: true });
  const tokenFile = join(gw.secretDirectory, "tokens");
  await writeFile(tokenFile, tokenLine("controller", "write") + tokenLine("prometheus", "read"));
  await gw.startAgent().whenReady();

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

  const everything = answers.join("\n");
  t.match(gw.agent.log + everything, /token:prometheus|"name":"controller"/, "who it was is told");
  t.ok(gw.agent.log.length > 1_000 && answers.length > 15);
  // The log and the state are searched when the lab closes.
  t.doesNotThrow(() => expectNoSecret("an answer", everything));
});
