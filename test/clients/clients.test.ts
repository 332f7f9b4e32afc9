/**
 * The controllers of docs/controller.md, in TypeScript and in Go, drive an agent: through refusals, a cut connection and a restart of
 * the agent, until packets go where the objects say. The Go client is generated from the OpenAPI document.
 */
import { execFileSync, spawn } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Gateway } from "../support/gateway.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, tcp } from "../support/targets.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const folder = join(import.meta.dirname, "controller");
const directory = temporaryDirectory("clients");

/** What happens to the next writes, instead of what they ask for. */
type Fault = "cut" | 412 | 503;

/** Passes requests on to the agent, except writes that meet one of the faults. */
async function faultyWay(t: Test, to: string, socket: string, faults: Fault[]): Promise<void> {
  const server = createServer((incoming, answer) => {
    const fault = incoming.method === "GET" ? undefined : faults.shift();
    if (fault === "cut") incoming.socket.destroy();
    else if (fault !== undefined) {
      const problem = { type: "", title: "", status: fault, code: "internal", detail: "a fault of the test" };
      const headers = { "content-type": "application/problem+json", "retry-after": "0" };
      incoming.resume().once("end", () => answer.writeHead(fault, headers).end(JSON.stringify(problem)));
    } else {
      const { method, url, headers } = incoming;
      const passed = request({ socketPath: to, method, path: url, headers }, (reply) => {
        answer.writeHead(reply.statusCode ?? 0, reply.headers);
        reply.pipe(answer);
      });
      passed.once("error", () => incoming.socket.destroy());
      incoming.pipe(passed);
    }
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => server.closeAllConnections());
  t.teardown(() => server.close());
}

/** Starts a controller. Returns what it has printed. */
function started(t: Test, command: readonly string[], args: readonly string[]): () => string {
  const [program = "", ...rest] = [...command, ...args];
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed += text;
  });
  t.teardown(() => child.kill());
  return () => printed;
}

async function drive(t: Test, command: readonly string[]): Promise<void> {
  const gw = await Gateway.start(t, "nftables");
  const outside = gw.host("outside");
  const [wantedFile, socket] = [join(directory, "wanted.json"), join(directory, "way.sock")];
  const want = (eips: readonly object[], fips: readonly object[]) => {
    // At once, because the controller may be reading it.
    writeFileSync(`${wantedFile}.new`, JSON.stringify({ eips, fips }));
    renameSync(`${wantedFile}.new`, wantedFile);
  };
  const faults: Fault[] = [503, "cut", 412];
  await faultyWay(t, gw.agentOptions.socketPath, socket, faults);
  const fip = { name: "fip-a", uid: "uid-1", eip: "eip-10", internalIp: "10.0.1.5" };

  want([eip(10)], [fip]);
  const printed = started(t, command, ["--socket", socket, "--resync", "1", wantedFile]);
  const says = (text: string) => until(text, () => printed().includes(text), 60_000);
  await says("Fip fip-a: Ready");
  t.same(faults, [], "it went on after each fault");
  t.match(await outside.ask(tcp(eipAddress(10))), { answeredBy: "pod1" });

  await gw.agent.kill();
  want([eip(10)], [{ ...fip, internalIp: "10.0.1.6" }]);
  await says("no answer: ");
  gw.startAgent();
  const isMoved = async () => {
    const answer = await outside.ask(tcp(eipAddress(10)));
    return "answeredBy" in answer && answer.answeredBy === "pod2";
  };
  await until("the EIP to lead to the other pod", isMoved, 60_000);
  t.pass("what was wanted while the agent was away is there");

  want([eip(10), { ...eip(10), name: "eip-twin" }], []);
  await says("put eips/eip-twin: conflict: ");
  await says("delete fips/fip-a: stored");
  want([eip(10)], [fip]);
  await says("put fips/fip-a: gone: ");
  t.equal((await gw.api.get("fips/fip-a")).status, 404, "what was deleted does not come back");
  want([], []);
  await says("delete eips/eip-10: stored");
}

t.test("in TypeScript", (t) => drive(t, [process.execPath, join(folder, "controller.ts")]));

const go = goCommand();

t.test("in Go", { skip: whyWithoutGo() }, async (t) => {
  runGo("generate", "./...");
  const code = readFileSync(join(folder, "natgw/natgw.gen.go"), "utf8").replaceAll(/\/\/.*/g, "");
  t.notOk(/\binterface ?\{\}|\bany\b/.exec(code)?.[0], "every value has a type");
  const program = join(directory, "controller");
  runGo("build", "-o", program, ".");
  await drive(t, [program]);
});

function runGo(...args: readonly string[]): void {
  const env = { ...process.env, GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly" };
  execFileSync(go ?? "go", args, { cwd: folder, env, stdio: ["ignore", "ignore", "pipe"], timeout: 300_000 });
}

function whyWithoutGo(): string | false {
  if (go === undefined) return "no Go, or an older one than go.mod asks for";
  try {
    runGo("mod", "download");
    return false;
  } catch {
    return "its modules cannot be downloaded";
  }
}

/** Go, if it is there and new enough. */
function goCommand(): string | undefined {
  const module = readFileSync(join(folder, "go.mod"), "utf8");
  const [, needed = "0"] = /^go 1\.(\d+)/m.exec(module) ?? [];
  return ["go", "/usr/local/go/bin/go"].find((command) => {
    try {
      const [, minor = "0"] =
        /go1\.(\d+)/.exec(execFileSync(command, ["version"], { encoding: "utf8" })) ?? [];
      return Number(minor) >= Number(needed);
    } catch {
      return false;
    }
  });
}
