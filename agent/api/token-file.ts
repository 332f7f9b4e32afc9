/** The bearer token of the TCP listeners, read again when its file may have changed: secrets rotate. */
import { createHash, timingSafeEqual } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Logger } from "pino";
import { GatewayError } from "../../lib/model/errors.ts";

/** How often the file is read again, in milliseconds. */
export const tokenRecheckMs = 5_000;
/** Whatever is longer does not fit into a request's headers. */
const maxTokenLength = 4_096;

export class TokenFile {
  readonly #path: string;
  readonly #log: Logger;
  readonly #nowMs: () => number;
  #digest: Buffer | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #fault: string | undefined;

  constructor(path: string, log: Logger, nowMs: () => number) {
    this.#path = path;
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** Why the file holds no token now, so that the last one stays in force; `undefined` where it holds one. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Reads the token for the first time. @throws `bad-config` where there is none to read. */
  async load(): Promise<void> {
    try {
      this.#digest = digest(await readToken(this.#path));
      this.#readAtMs = this.#nowMs();
    } catch (cause) {
      throw new GatewayError("bad-config", `NATGW_TOKEN_FILE: ${this.#path}: ${messageOf(cause)}`, { cause });
    }
  }

  /** Judges an `Authorization` header, in a time that does not depend on how much of the token is right. */
  async admits(header: string | undefined): Promise<boolean> {
    await this.recheck();
    const [, presented] = header?.match(/^Bearer +([\x21-\x7e]+)$/i) ?? [];
    if (presented === undefined || this.#digest === undefined) return false;
    return timingSafeEqual(digest(presented), this.#digest);
  }

  /** Reads the file again where that was not done for {@link tokenRecheckMs}. Never rejects. */
  async recheck(): Promise<void> {
    if (this.#nowMs() - this.#readAtMs < tokenRecheckMs) return this.#reading;
    this.#readAtMs = this.#nowMs();
    this.#reading ??= this.#reload().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** A file that holds no token now (a rotation half way, two lines) leaves the last token in force. */
  async #reload(): Promise<void> {
    const before = this.#fault;
    try {
      this.#digest = digest(await readToken(this.#path));
      this.#fault = undefined;
      if (before !== undefined) this.#log.info({ path: this.#path }, "token file holds a token again");
    } catch (err) {
      this.#fault = messageOf(err);
      if (this.#fault !== before)
        this.#log.warn({ err, path: this.#path }, "token file holds no token, last token stays");
    }
  }
}

/** @throws where the file cannot be read, or holds anything but one line of printable ASCII without spaces. */
async function readToken(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    return parseToken(await readStart(file));
  } finally {
    await file.close();
  }
}

/** No more of it than shows that it is too long: a token's file may be anything, an endless device too. */
async function readStart(file: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(maxTokenLength + 64);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  return buffer.toString("latin1", 0, bytesRead);
}

function parseToken(text: string): string {
  const token = text.trim();
  if (token === "") throw new Error("the file is empty");
  if (/[\r\n]/.test(token)) throw new Error("the file holds more than one line");
  if (token.length > maxTokenLength) throw new Error(`the token is longer than ${maxTokenLength} characters`);
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new Error("the token holds characters that are not printable ASCII, or spaces");
  return token;
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
