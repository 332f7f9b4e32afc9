/**
 * Every connection of every listener, counted together. When there are too many, the one that was idle for longest is closed,
 * unless it is so new that its request may be on its way: some of those are too many for a moment. When none is idle, a few more
 * are taken on, on which only probes are answered. A peer that does not read its answer, or does
 * not go on with its request, is cut.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

export interface ConnectionLimits {
  /** Connections in all; beyond, the one that was idle for longest gives way. */
  readonly most: number;
  /** Milliseconds in which a new connection need not give way, while there are no more than twice as many as `most`. */
  readonly newMs: number;
  /** Connections beyond these, where none is idle: for probes. */
  readonly reserved: number;
  /**
   * Milliseconds that an answer may wait for its reader, a request for its rest, or a client that sends no more for its
   * answer, while no byte moves.
   */
  readonly stallMs: number;
}

export const connectionLimits: ConnectionLimits = { most: 512, newMs: 500, reserved: 64, stallMs: 30_000 };

/** How often it is looked whether bytes moved. */
const looksPerStall = 6;

interface Connection {
  readonly openedMs: number;
  readonly raw: Socket;
  /** What HTTP is spoken over: with TLS, the stream within `raw`. */
  stream: Socket;
  readonly isReserved: boolean;
  /** It ends with its last answer that is under way. */
  isRetired?: boolean;
  /** Requests whose answers are not out; none means idle. */
  readonly underway: Set<IncomingMessage>;
  /** Bytes that had moved in either direction at the last look, and how many looks found no more. */
  moved: number;
  looksInVain: number;
}

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #all = new Set<Connection>();
  /** The one that was idle for longest first. */
  readonly #idle = new Set<Connection>();
  /** The oldest first. */
  readonly #reserved = new Set<Connection>();
  readonly #byStream = new WeakMap<Socket, Connection>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: Partial<ConnectionLimits> = {}) {
    this.#limits = { ...connectionLimits, ...limits };
  }

  /** Counts the connections of `server` from now on. */
  watch(server: Server): void {
    this.#timer ??= setInterval(this.#look, this.#limits.stallMs / looksPerStall).unref();
    server.on("connection", (socket: Socket) => this.#opened(socket));
    server.on("secureConnection", (stream: Socket) => this.#secured(stream));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** A request came in: its connection is not idle until the answer is out. */
  begin(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#byStream.get(request.socket);
    if (connection === undefined) return;
    this.#idle.delete(connection);
    connection.underway.add(request);
    response.once("close", () => {
      connection.underway.delete(request);
      if (connection.underway.size > 0 || !this.#all.has(connection)) return;
      if (connection.isRetired === true) connection.raw.destroy();
      else this.#idle.add(connection);
    });
  }

  /** Lets no further request in by the connections of now: those who connect again are checked again. */
  retireAll(): void {
    for (const connection of this.#all) {
      if (connection.underway.size === 0) connection.raw.destroy();
      else connection.isRetired = true;
    }
  }

  /** True where nothing but probes is answered on the connection of a request. */
  isForProbes(request: IncomingMessage): boolean {
    const connection = this.#byStream.get(request.socket);
    return connection?.isReserved === true && this.#all.size > this.#limits.most;
  }

  #opened(raw: Socket): void {
    const { most, newMs, reserved } = this.#limits;
    const nowMs = performance.now();
    for (const one of this.#idle) {
      const isNew = nowMs - one.openedMs < newMs && this.#all.size < 2 * most;
      if (this.#all.size < most || isNew) break;
      this.#close(one);
    }
    const isReserved = this.#all.size - this.#idle.size >= most;
    const [first] = this.#reserved;
    if (isReserved && first !== undefined && this.#reserved.size >= reserved) this.#close(first);
    const connection: Connection = {
      openedMs: nowMs,
      raw,
      stream: raw,
      isReserved,
      underway: new Set(),
      moved: 0,
      looksInVain: 0,
    };
    this.#all.add(connection);
    this.#idle.add(connection);
    if (isReserved) this.#reserved.add(connection);
    this.#byStream.set(raw, connection);
    raw.once("close", () => this.#forget(connection));
  }

  /** Finds the connection that a TLS stream is spoken over by its peer: Node does not tell. */
  #secured(stream: Socket): void {
    const isItsRaw = ({ raw }: Connection): boolean =>
      raw.remotePort === stream.remotePort &&
      raw.remoteAddress === stream.remoteAddress &&
      raw.localPort === stream.localPort;
    const connection = this.#all.values().find(isItsRaw);
    if (connection === undefined) return;
    connection.stream = stream;
    this.#byStream.set(stream, connection);
  }

  #close(connection: Connection): void {
    this.#forget(connection);
    connection.raw.destroy();
  }

  #forget(connection: Connection): void {
    this.#all.delete(connection);
    this.#idle.delete(connection);
    this.#reserved.delete(connection);
  }

  readonly #look = (): void => {
    for (const connection of this.#all) {
      const { stream, underway } = connection;
      const moved = stream.bytesRead + stream.bytesWritten - stream.writableLength;
      // Whoever sends no more may be gone: only a write tells.
      const mayBeGone = stream.readableEnded && underway.size > 0;
      const isOwed =
        mayBeGone || stream.writableLength > 0 || underway.values().some(({ complete }) => !complete);
      connection.looksInVain = isOwed && moved === connection.moved ? connection.looksInVain + 1 : 0;
      connection.moved = moved;
      if (connection.looksInVain >= looksPerStall) connection.raw.destroy();
    }
  };
}
