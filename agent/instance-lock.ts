/**
 * One agent a network namespace. An abstract unix socket belongs to its namespace and dies with its process, so
 * it leaves nothing behind after kill -9 and cannot be deleted from under its holder, as a lock file can.
 */
import { connect, createServer, type Server } from "node:net";
import { GatewayError } from "../lib/model/errors.ts";

const lockName = "\0natgw-agent";
/** How long the holder has to say who it is. */
const askTimeoutMs = 500;

export class InstanceLock {
  readonly #name: string;
  #server: Server | undefined;

  constructor(name = lockName) {
    this.#name = name;
  }

  /** Takes the lock for the life of this process. Throws `already-running` with the holder's pid, where it tells. */
  async start(): Promise<void> {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      // Destroyed once it is said: who never hangs up would hold up stop().
      socket.end(`${process.pid}\n`, () => socket.destroy());
    });
    try {
      await listen(server, this.#name);
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE")) throw cause;
      const pid = await askPid(this.#name);
      const holder = pid === undefined ? "another agent" : `the agent with pid ${pid}`;
      throw new GatewayError("already-running", `${holder} already serves this network namespace`, {
        cause,
        details: pid === undefined ? {} : { pid },
      });
    }
    // The lock alone is no reason to go on living.
    server.unref();
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

function listen(server: Server, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(name, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** The holder's pid in its own pid namespace; `undefined` where it does not answer in time, being stopped or hung. */
function askPid(name: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(name);
    const timer = setTimeout(() => socket.destroy(), askTimeoutMs);
    socket.setEncoding("latin1");
    socket.on("data", (part) => {
      answer += part;
      if (answer.length > 16) socket.destroy();
    });
    // An error needs no words of its own: `close` follows, and the answer is then not a pid.
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      const [, digits] = /^(\d{1,10})\n$/.exec(answer) ?? [];
      resolve(digits === undefined ? undefined : Number(digits));
    });
  });
}
