/**
 * HTTP over the agent's Unix socket with `node:net` alone, one connection for each request: `node:http` takes longer to load than most
 * commands of natgwctl take to run.
 */
import { connect, type Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { type Answer, type Call, ConnectionError, type Transport } from "./answer.ts";

export function openSocketTransport({ socket: path }: { readonly socket: string }): Transport {
  const open = new Set<Socket>();
  return {
    async send(call) {
      const { signal } = call;
      try {
        signal.throwIfAborted();
        const socket = connect(path);
        open.add(socket);
        const abort = () => socket.destroy(asError(signal.reason));
        signal.addEventListener("abort", abort);
        socket.once("close", () => {
          open.delete(socket);
          signal.removeEventListener("abort", abort);
        });
        socket.write(textOf(call));
        return await readAnswer(socket);
      } catch (error) {
        throw new ConnectionError(
          `Cannot reach the agent at unix:${path}`,
          signal.aborted ? signal.reason : error,
        );
      }
    },
    close() {
      for (const socket of open) socket.destroy();
    },
  };
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function textOf({ method, path, headers, body }: Call): string {
  const length = body === undefined ? [] : [`content-length: ${Buffer.byteLength(body)}`];
  const lines = [
    `${method} ${path} HTTP/1.1`,
    "host: localhost",
    "connection: close",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...length,
  ];
  if (lines.some((line) => /[\r\n]/.test(line))) throw new TypeError("a line break in a header");
  return `${lines.join("\r\n")}\r\n\r\n${body ?? ""}`;
}

/** Also an interim answer has headers. */
async function readAnswer(socket: Socket): Promise<Answer> {
  const input = new Input(socket);
  for (;;) {
    const [, status] = /^HTTP\/1\.[01] (\d{3})/.exec(await input.line()) ?? [];
    if (status === undefined) throw new Error("the answer is not HTTP");
    const headers: Record<string, string> = {};
    for (let line = await input.line(); line !== ""; line = await input.line()) {
      const colon = line.indexOf(":");
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    if (!status.startsWith("1"))
      return { status: Number(status), headers, text: decoded(bodyOf(input, status, headers)) };
  }
}

async function* bodyOf(
  input: Input,
  status: string,
  headers: Record<string, string>,
): AsyncGenerator<Buffer> {
  const { "transfer-encoding": encoding, "content-length": length } = headers;
  try {
    if (status === "204" || status === "304") return;
    if (encoding !== undefined) {
      for (let size = await sizeOfChunk(input); size > 0; size = await sizeOfChunk(input)) {
        yield* input.bytes(size);
        await input.line();
      }
    } else if (length !== undefined) yield* input.bytes(Number(length));
    else yield* input.rest();
  } finally {
    input.close();
  }
}

async function sizeOfChunk(input: Input): Promise<number> {
  const line = await input.line();
  if (!/^[0-9a-f]+(?:;|$)/i.test(line)) throw new Error("a chunk of the answer has no size");
  return Number.parseInt(line, 16);
}

async function* decoded(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder("utf8");
  for await (const chunk of chunks) yield decoder.write(chunk);
  const rest = decoder.end();
  if (rest !== "") yield rest;
}

const maxLine = 65_536;

/** What comes in: lines, and bytes. Throws if it ends before. */
class Input {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  /** Without its line break. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#chunk.indexOf("\r\n");
      if (end >= 0) {
        const line = this.#chunk.toString("latin1", 0, end);
        this.#chunk = this.#chunk.subarray(end + 2);
        return line;
      }
      if (this.#chunk.length > maxLine) throw new Error("a line of the answer is too long");
      const more = await this.#next();
      if (more === undefined) throw endedEarly();
      this.#chunk = Buffer.concat([this.#chunk, more]);
    }
  }

  async *bytes(count: number): AsyncGenerator<Buffer> {
    for (let left = count; left > 0; ) {
      if (this.#chunk.length === 0) {
        const more = await this.#next();
        if (more === undefined) throw endedEarly();
        this.#chunk = more;
      }
      const part = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }

  /** Until the other side closes. */
  async *rest(): AsyncGenerator<Buffer> {
    yield this.#chunk;
    for (let more = await this.#next(); more !== undefined; more = await this.#next()) yield more;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(): Promise<Buffer | undefined> {
    const { done, value } = await this.#chunks.next();
    return done ? undefined : value;
  }
}

function endedEarly(): Error {
  return new Error("the connection was closed early");
}
