/**
 * Allows one agent per network namespace. The lock is an abstract Unix socket: it belongs to the network namespace and
 * disappears with its process. So it leaves nothing behind after `kill -9`, and unlike a lock file nobody can delete
 * it.
 */
import { connect, createServer, type Server } from "node:net";
import { GatewayError } from "../lib/model/errors.ts";

const lockName = "\0natgw-agent";
/** How long the holder has to send its pid. */
const askTimeoutMs = 500;

export class InstanceLock {
  readonly #name: string;
  #server: Server | undefined;

  constructor(name = lockName) {
    this.#name = name;
  }

  /**
   * Takes the lock for the life of this process. Throws `already-running`, with the pid of the holder if it answers.
   */
  async start(): Promise<void> {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      // Destroy the socket after sending: a client that never closes its end would block stop().
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
    // The lock must not keep the process alive.
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

/**
 * The pid of the holder, in the holder's pid namespace. `undefined` if it does not answer in time because it is stopped
 * or hangs.
 */
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
    // `close` follows every error, and the answer is then not a pid.
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      const [, digits] = /^(\d{1,10})\n$/.exec(answer) ?? [];
      resolve(digits === undefined ? undefined : Number(digits));
    });
  });
}
