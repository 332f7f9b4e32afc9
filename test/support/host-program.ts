/**
 * The hosts of labs: serves, asks and keeps streams open on request, in the network namespace that the request names. Reads one
 * JSON request per line and answers with one line. Ends with its stdin, so it never outlives the test. With `--serve <host>` it only
 * serves TCP 80 and UDP 53 where it was started, until it is killed.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Socket, connect as tcpConnect } from "node:net";
import { createInterface } from "node:readline";
import { setImmediate as nextTurn } from "node:timers/promises";
import { enterNamespace } from "./enter-namespace.ts";

export type Transport = "tcp" | "udp";

export interface Target {
  readonly transport: Transport;
  readonly address: string;
  readonly port: number;
  /**
   * The client's own address and port; chosen by the kernel if absent. A port below 32768 never collides with a chosen
   * one.
   */
  readonly from?: string;
  readonly fromPort?: number;
  /** UDP: answers from any other address and port do not count, as with a connected socket. */
  readonly isConnected?: boolean;
}

/** Which host answered, and the source address that it saw. */
export interface Answer {
  readonly answeredBy: string;
  readonly seenAs: string;
  readonly seenPort: number;
}

export interface Progress {
  readonly sent: number;
  /** Bytes that came back unchanged (TCP), or datagrams answered (UDP). */
  readonly received: number;
  /** TCP: every byte came back in its place. */
  readonly isIntact: boolean;
  /** Why it ended. `undefined` while it continues. */
  readonly ended?: string;
  readonly answer?: Answer;
}

/** The calls that a host supports. */
export interface HostCalls {
  /** `address`: UDP only, so that answers have it as source. Absent: all addresses. */
  listen: [
    {
      readonly host: string;
      readonly transport: Transport;
      readonly port: number;
      readonly address?: string;
    },
    null,
  ];
  ask: [Target & { readonly timeoutMs: number }, Answer | { readonly silence: string }];
  /** The result is its number. */
  open: [Target, number];
  progress: [{ readonly stream: number }, Progress];
  /** Resolves when `by` more bytes (TCP) or answers (UDP) came back. False if the stream ended or the time is over. */
  advance: [{ readonly stream: number; readonly by: number; readonly timeoutMs: number }, boolean];
  close: [{ readonly stream: number }, Progress];
  /** `count` flows from new ports, at most 32 at a time. Counts answers by the source address that the server saw. */
  flood: [Target & { readonly count: number; readonly timeoutMs: number }, Readonly<Record<string, number>>];
  /** Closes every socket of the namespace. */
  stop: [null, null];
}

export type HostMethod = keyof HostCalls;

type Handlers = {
  readonly [M in HostMethod]: (params: HostCalls[M][0], place: Place) => Promise<HostCalls[M][1]>;
};

/** A TCP stream sends a block this often: enough to notice an interruption, and cheap for tests with many streams. */
const blockBytes = 4096;
const tickMs = 20;
const windowBytes = 16 * blockBytes;
const resendMs = 150;

interface Stream {
  readonly progress: { -readonly [K in keyof Progress]: Progress[K] };
  readonly watchers: Set<() => void>;
  readonly stop: () => void;
}

/** A network namespace with what is open in it. */
class Place {
  readonly streams = new Map<number, Stream>();
  /** Closes its listeners with their connections. */
  readonly closers = new Set<() => void>();
  readonly #namespace: string | undefined;

  /** Absent: where the program was started. */
  constructor(namespace?: string) {
    this.#namespace = namespace;
  }

  /** Runs `open`, whose socket is in this namespace. */
  opened<T>(open: () => T): Promise<T> {
    const opening = openings.then(() => this.#inside(open));
    openings = opening.catch(() => undefined);
    return opening;
  }

  /** Node opens the socket in the same turn of its event loop, on the main thread. */
  async #inside<T>(open: () => T): Promise<T> {
    const leave = this.#namespace === undefined ? () => undefined : enterNamespace(this.#namespace);
    try {
      const socket = open();
      await nextTurn();
      return socket;
    } finally {
      leave();
    }
  }

  stream(id: number): Stream {
    const stream = this.streams.get(id);
    if (stream === undefined) throw new Error(`no stream ${id}`);
    return stream;
  }

  close(): void {
    for (const { stop } of this.streams.values()) stop();
    for (const close of this.closers) close();
  }
}

/** One socket is opened after the other: the main thread is in one namespace at a time. */
let openings: Promise<unknown> = Promise.resolve();
const places = new Map<string, Place>();
let lastStream = 0;

const handlers: Handlers = {
  listen: async ({ host, transport, port, address }, place) => {
    await (transport === "tcp" ? serveTcp(place, host, port) : serveUdp(place, host, port, address));
    return null;
  },
  ask: (params, place) => (params.transport === "tcp" ? askTcp(place, params) : askUdp(place, params)),
  open: async (params, place) => {
    const open = params.transport === "tcp" ? openTcp : openUdp;
    const number = ++lastStream;
    place.streams.set(number, await place.opened(() => open(params)));
    return number;
  },
  progress: async ({ stream }, place) => place.stream(stream).progress,
  advance: ({ stream, by, timeoutMs }, place) => advance(place.stream(stream), by, timeoutMs),
  close: async ({ stream }, place) => {
    const found = place.stream(stream);
    found.stop();
    place.streams.delete(stream);
    return found.progress;
  },
  flood,
  stop: async (_, place) => {
    place.close();
    return null;
  },
};

async function main(): Promise<void> {
  const [option, host] = process.argv.slice(2);
  if (option === "--serve" && host !== undefined) {
    const here = new Place();
    await Promise.all([serveTcp(here, host, 80), serveUdp(here, host, 53)]);
    return;
  }
  for await (const line of createInterface({ input: process.stdin })) void answer(line);
  process.exit();
}

async function answer(line: string): Promise<void> {
  const { id, namespace, method, params } = JSON.parse(line) as {
    readonly id: number;
    readonly namespace: string;
    readonly method: HostMethod;
    readonly params: never;
  };
  const place = places.get(namespace) ?? new Place(namespace);
  if (method === "stop") places.delete(namespace);
  else places.set(namespace, place);
  const reply = await handlers[method](params, place).then(
    (result) => ({ id, result }),
    (error: unknown) => ({ id, error: String(error) }),
  );
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

/** Sends one line with the client's address, then echoes every byte. */
async function serveTcp(place: Place, host: string, port: number): Promise<void> {
  const connections = new Set<Socket>();
  const server = createServer((socket) => {
    connections.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => connections.delete(socket));
    socket.write(`${JSON.stringify(answerTo(host, socket.remoteAddress, socket.remotePort))}\n`);
    socket.pipe(socket);
  });
  const listen = () => server.listen({ port, host: "0.0.0.0", backlog: 1024 });
  await Promise.all([once(server, "listening"), place.opened(listen)]);
  place.closers.add(() => {
    server.close();
    for (const socket of connections) socket.destroy();
  });
}

async function serveUdp(place: Place, host: string, port: number, address?: string): Promise<void> {
  const server = createSocket({ type: "udp4", reuseAddr: true });
  server.on("message", (_, from) => {
    server.send(JSON.stringify(answerTo(host, from.address, from.port)), from.port, from.address);
  });
  await Promise.all([once(server, "listening"), place.opened(() => server.bind(port, address))]);
  place.closers.add(() => server.close());
}

function answerTo(host: string, address = "", port = 0): Answer {
  return { answeredBy: host, seenAs: address.replace("::ffff:", ""), seenPort: port };
}

async function askTcp(
  place: Place,
  target: Target & { timeoutMs: number },
): Promise<Answer | { silence: string }> {
  const first = Promise.withResolvers<void>();
  const stream = await place.opened(() => openTcp(target, first.resolve));
  const timer = setTimeout(first.resolve, target.timeoutMs);
  await first.promise;
  clearTimeout(timer);
  stream.stop();
  const { answer, ended = "timeout" } = stream.progress;
  return answer ?? silence(ended);
}

async function askUdp(
  place: Place,
  target: Target & { timeoutMs: number },
): Promise<Answer | { silence: string }> {
  const { promise, resolve } = Promise.withResolvers<Answer | { silence: string }>();
  const socket = createSocket("udp4");
  const send = () =>
    socket.send("?", target.port, target.address, (error) => error && resolve(silence(error.message)));
  socket.on("error", (error) => resolve(silence(error.message)));
  socket.on("message", (message, from) => {
    const isFromTarget = from.address === target.address && from.port === target.port;
    if (target.isConnected !== true || isFromTarget) resolve(JSON.parse(message.toString()) as Answer);
  });
  await place.opened(() => socket.bind(target.fromPort ?? 0, target.from, send));
  const timer = setTimeout(() => resolve(silence("timeout")), target.timeoutMs);
  const resend = setInterval(send, resendMs);
  const result = await promise;
  clearTimeout(timer);
  clearInterval(resend);
  // The port is free again only then; the next request may use it.
  await new Promise<void>((closed) => socket.close(closed));
  return result;
}

/** `onFirst` runs once: at the greeting, or at the end if there was none. */
function openTcp(target: Target, onFirst?: () => void): Stream {
  const socket: Socket = tcpConnect({
    host: target.address,
    port: target.port,
    ...(target.from === undefined ? {} : { localAddress: target.from }),
    ...(target.fromPort === undefined ? {} : { localPort: target.fromPort }),
  });
  const stream = makeStream(() => {
    clearInterval(ticking);
    socket.destroy();
  });
  const { progress } = stream;
  let greeting = "";
  const tick = () => {
    if (progress.sent - progress.received >= windowBytes) return;
    socket.write(pattern(progress.sent));
    progress.sent += blockBytes;
  };
  let ticking: NodeJS.Timeout | undefined;
  socket.on("data", (data: Buffer) => {
    let bytes = data;
    if (progress.answer === undefined) {
      const newline = bytes.indexOf(10);
      greeting += bytes.subarray(0, newline < 0 ? bytes.length : newline).toString();
      if (newline < 0) return;
      progress.answer = JSON.parse(greeting) as Answer;
      bytes = bytes.subarray(newline + 1);
      if (onFirst !== undefined) return onFirst();
      ticking = setInterval(tick, tickMs);
    }
    for (const byte of bytes) {
      if (byte !== patternAt(progress.received)) progress.isIntact = false;
      progress.received += 1;
    }
    notify(stream);
  });
  const end = (why: string) => {
    if (progress.ended !== undefined) return;
    progress.ended = why;
    clearInterval(ticking);
    notify(stream);
    if (progress.answer === undefined) onFirst?.();
  };
  socket.on("error", (error: Error & { code?: string }) => end(error.code ?? error.message));
  socket.on("close", () => end("closed"));
  return stream;
}

/** One socket that sends a datagram every 10 ms, answered or not: a single flow. */
function openUdp(target: Target): Stream {
  const socket: UdpSocket = createSocket("udp4");
  const stream = makeStream(() => {
    clearInterval(ticking);
    socket.removeAllListeners().close();
  });
  const { progress } = stream;
  let ticking: NodeJS.Timeout | undefined;
  // A refused or unroutable datagram only counts as not answered.
  socket.on("error", () => undefined);
  socket.on("message", (message) => {
    progress.answer = JSON.parse(message.toString()) as Answer;
    progress.received += 1;
    notify(stream);
  });
  socket.bind(target.fromPort ?? 0, target.from, () => {
    ticking = setInterval(() => {
      progress.sent += 1;
      socket.send("?", target.port, target.address, () => undefined);
    }, 10);
  });
  return stream;
}

function makeStream(stop: () => void): Stream {
  return { progress: { sent: 0, received: 0, isIntact: true }, watchers: new Set(), stop };
}

function notify(stream: Stream): void {
  for (const watcher of [...stream.watchers]) watcher();
}

function advance(stream: Stream, by: number, timeoutMs: number): Promise<boolean> {
  const goal = stream.progress.received + by;
  return new Promise((resolve) => {
    const finish = (isThere: boolean) => {
      clearTimeout(timer);
      stream.watchers.delete(look);
      resolve(isThere);
    };
    const look = () => {
      if (stream.progress.received >= goal) finish(true);
      else if (stream.progress.ended !== undefined) finish(false);
    };
    const timer = setTimeout(() => finish(false), timeoutMs);
    stream.watchers.add(look);
    look();
  });
}

async function flood(params: HostCalls["flood"][0], place: Place): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {};
  let left = params.count;
  const worker = async () => {
    while (left-- > 0) {
      const result = await handlers.ask(params, place);
      const key = "silence" in result ? result.silence : result.seenAs;
      counts[key] = (counts[key] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: Math.min(32, params.count) }, worker));
  return counts;
}

/** Bytes that depend on their position, so that a lost or doubled block shows. */
function pattern(offset: number): Buffer {
  const block = Buffer.allocUnsafe(blockBytes);
  for (let index = 0; index < blockBytes; index++) block[index] = patternAt(offset + index);
  return block;
}

function patternAt(offset: number): number {
  return (offset ^ (offset >>> 8) ^ (offset >>> 16)) & 255;
}

function silence(why = "closed"): { silence: string } {
  return { silence: why };
}

await main();
