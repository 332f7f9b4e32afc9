/**
 * V8's code cache of a program that has run. Node's own compile cache is written when a file is loaded: it lacks every function that
 * is called later, and each start compiles those again.
 *
 * The file of the cache has two CRC-32, little-endian, of the bundle and of the rest, then V8's data. V8 itself rejects data of another
 * version or other flags, but damaged data it does not always notice, and of the bundle it compares only the length.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { cachingEnvironment } from "./bundle.ts";

/** Put around a bundle, so that a script that is one function has the variables of a CommonJS module. */
export const wrapper = {
  banner: { js: "(function (exports, require, module, __filename, __dirname) {" },
  footer: { js: "})" },
} as const;

/**
 * The end of a starter: it runs a bundle in {@link wrapper} with the code cache of its directory. Without a valid one V8 compiles as
 * always. esbuild writes ASCII only. What it exports is for keep-code-cache.ts.
 */
export function runningWithCodeCache(file: string): string {
  return `const { readFileSync } = require("node:fs");
const { constants, Script } = require("node:vm");
const { crc32 } = require("node:zlib");
function load(filename) {
  const source = readFileSync(filename);
  const sum = crc32(source);
  const script = new Script(source.toString("latin1"), {
    filename,
    cachedData: readCache(sum),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  return { script, sum };
}
function readCache(sum) {
  try {
    const cache = readFileSync(\`\${__dirname}/compiled/code\`);
    const data = cache.subarray(8);
    return cache.readUInt32LE(0) === sum && cache.readUInt32LE(4) === crc32(data) ? data : undefined;
  } catch {
    return undefined;
  }
}
const filename = \`\${__dirname}/${file}\`;
module.exports = load(filename);
module.exports.script.runInThisContext().call({}, {}, require, module, filename, __dirname);
`;
}

/** Runs the agent until it serves a small set, in a network namespace of its own. Where none can be made, it only prints its version. */
export async function fillCodeCache(directory: string): Promise<void> {
  const node = [process.execPath, "--import", keeper, resolve(directory, "main.js")];
  const place = await mkdtemp(join(tmpdir(), "natgw-build-"));
  const socketPath = join(place, "agent.sock");
  const agent = start(
    ["timeout", longest, "unshare", "--map-root-user", "--net", "sh", "-c", network, "sh", ...node],
    {
      NATGW_STATE_DIR: place,
      NATGW_SOCKET: socketPath,
      NATGW_DATAPLANE: "nftables",
      NATGW_VPC_INTERFACE: "eth0",
      NATGW_ARP_PROBE: "0",
    },
  );
  try {
    if (await serves(agent, socketPath)) return;
  } finally {
    agent.child.kill();
    await agent.ended;
    await rm(place, { recursive: true, force: true });
  }
  await start([...node, "--version"]).ended;
}

const keeper = fileURLToPath(new URL("keep-code-cache.ts", import.meta.url));
/** Enough for a busy machine. Without the right to make a namespace the agent ends at once. */
const startMs = 20_000;
/** In seconds. Then it ends even if nobody is left to end it. */
const longest = "60";

/** Interfaces as a gateway has them. Without `ip` the agent runs, too. */
const network = `
for nic in eth0 net1; do ip link add $nic type dummy && ip link set $nic up; done
ip address add 10.0.1.254/24 dev eth0
ip address add 203.0.113.254/24 dev net1
exec "$@"
`;

const set = {
  generation: 1,
  eips: [{ name: "eip", address: "203.0.113.10/24" }],
  fips: [],
  snats: [{ name: "snat", eip: "eip", internalCIDR: "10.0.1.0/24" }],
  dnats: [],
  routes: [],
};

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
}

function start(argv: readonly string[], settings: NodeJS.ProcessEnv = {}): Started {
  const [command = "", ...args] = argv;
  const child = spawn(command, args, { env: { ...cachingEnvironment(), ...settings }, stdio: "ignore" });
  // A command that is missing is like one that fails.
  return { child, ended: once(child, "exit").catch(() => undefined) };
}

/** False if it ended or the time is over. @throws Error if it refuses the set: the cache would lack most of the code */
async function serves({ ended }: Started, socketPath: string): Promise<boolean> {
  let isOver = false;
  void Promise.race([ended, delay(startMs, undefined, { ref: false })]).then(() => {
    isOver = true;
  });
  while (!isOver) {
    await delay(50);
    const status = await call(socketPath, "PUT", "/v1/desired?wait=5s", JSON.stringify(set));
    if (status === undefined) continue;
    if (status >= 400 && status < 500)
      throw new Error(`the agent refuses the set that the build sends: status ${status}`);
    for (const path of ["/v1/status", "/v1/plan", "/metrics", "/readyz"]) await call(socketPath, "GET", path);
    return true;
  }
  return false;
}

/** The status of the answer. `undefined` if there is none. */
function call(socketPath: string, method: string, path: string, body?: string): Promise<number | undefined> {
  return new Promise((done) => {
    const headers = { "content-type": "application/json" };
    const asked = request({ socketPath, method, path, headers }, (answer) => {
      answer.resume().once("end", () => done(answer.statusCode));
    });
    asked.once("error", () => done(undefined)).end(body);
  });
}
