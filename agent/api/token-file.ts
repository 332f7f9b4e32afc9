/** The bearer token of the TCP listeners. Its file is read again regularly, because secrets rotate. */
import { createHash, timingSafeEqual } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Logger } from "pino";
import { GatewayError } from "../../lib/model/errors.ts";

/** How often the file is read again, in milliseconds. */
export const tokenRecheckMs = 5_000;
/** A longer token does not fit into the headers of a request. */
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

  /** Why the file has no valid token now, so that the last one stays in force. `undefined` if it has one. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * Reads the token for the first time.
   * @throws `bad-config` if there is none
   */
  async load(): Promise<void> {
    try {
      this.#digest = digest(await readToken(this.#path));
      this.#readAtMs = this.#nowMs();
    } catch (cause) {
      throw new GatewayError("bad-config", `NATGW_TOKEN_FILE: ${this.#path}: ${messageOf(cause)}`, { cause });
    }
  }

  /** Checks an `Authorization` header in constant time. */
  async admits(header: string | undefined): Promise<boolean> {
    await this.recheck();
    const [, presented] = header?.match(/^Bearer +([\x21-\x7e]+)$/i) ?? [];
    if (presented === undefined || this.#digest === undefined) return false;
    return timingSafeEqual(digest(presented), this.#digest);
  }

  /** Reads the file again if the last read is older than {@link tokenRecheckMs}. Never rejects. */
  async recheck(): Promise<void> {
    if (this.#nowMs() - this.#readAtMs < tokenRecheckMs) return this.#reading;
    this.#readAtMs = this.#nowMs();
    this.#reading ??= this.#reload().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** If the file has no valid token now (a half-finished rotation, two lines), the last token stays in force. */
  async #reload(): Promise<void> {
    const before = this.#fault;
    try {
      this.#digest = digest(await readToken(this.#path));
      this.#fault = undefined;
      if (before !== undefined) this.#log.info({ path: this.#path }, "token file has a valid token again");
    } catch (err) {
      this.#fault = messageOf(err);
      if (this.#fault !== before)
        this.#log.warn(
          { err, path: this.#path },
          "token file has no valid token, the last token stays in force",
        );
    }
  }
}

/** @throws if the file cannot be read, or is not one line of printable ASCII without spaces */
async function readToken(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    return parseToken(await readStart(file));
  } finally {
    await file.close();
  }
}

/** Reads only enough to detect a token that is too long: the path may be any file, even an endless device. */
async function readStart(file: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(maxTokenLength + 64);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  return buffer.toString("latin1", 0, bytesRead);
}

function parseToken(text: string): string {
  const token = text.trim();
  if (token === "") throw new Error("the file is empty");
  if (/[\r\n]/.test(token)) throw new Error("the file has more than one line");
  if (token.length > maxTokenLength) throw new Error(`the token is longer than ${maxTokenLength} characters`);
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new Error("the token has spaces or characters that are not printable ASCII");
  return token;
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
