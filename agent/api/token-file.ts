/** The bearer token of the TCP listeners, read again when its file may have changed: secrets rotate. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { GatewayError } from "../../lib/model/errors.ts";

const recheckMs = 5_000;

export class TokenFile {
  readonly #path: string;
  readonly #log: Logger;
  readonly #nowMs: () => number;
  #digest: Buffer | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(path: string, log: Logger, nowMs: () => number) {
    this.#path = path;
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** Reads the token for the first time. @throws `bad-config` where there is none to read. */
  async load(): Promise<void> {
    try {
      this.#digest = digest(await readToken(this.#path));
      this.#readAtMs = this.#nowMs();
    } catch (cause) {
      throw new GatewayError("bad-config", `NATGW_TOKEN_FILE: ${this.#path} holds no token`, { cause });
    }
  }

  /** Judges an `Authorization` header, in a time that does not depend on how much of the token is right. */
  async admits(header: string | undefined): Promise<boolean> {
    if (this.#nowMs() - this.#readAtMs >= recheckMs) {
      this.#reading ??= this.#reload().finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
    const [, presented] = header?.match(/^Bearer +([\x21-\x7e]+)$/i) ?? [];
    if (presented === undefined || this.#digest === undefined) return false;
    return timingSafeEqual(digest(presented), this.#digest);
  }

  /** A file that cannot be read now (a rotation half way) leaves the last token in force. */
  async #reload(): Promise<void> {
    this.#readAtMs = this.#nowMs();
    try {
      this.#digest = digest(await readToken(this.#path));
    } catch (err) {
      this.#log.warn({ err, path: this.#path }, "token file not readable, last token stays");
    }
  }
}

async function readToken(path: string): Promise<string> {
  const token = (await readFile(path, "utf8")).trim();
  if (token === "") throw new Error("the file is empty");
  return token;
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
