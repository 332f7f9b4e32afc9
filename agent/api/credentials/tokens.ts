/** The bearer tokens of the TCP listeners. Only their SHA-256 is kept. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Role } from "../../../lib/access/role.ts";
import { parseTokens } from "../../../lib/access/tokens.ts";
import { type Caller, unnamedToken } from "../identity.ts";
import { WatchedFile, type WatchedFileOptions } from "./watched-file.ts";

interface KnownToken {
  readonly name: string;
  readonly role: Role;
  readonly digest: Buffer;
}

export class Tokens {
  readonly file: WatchedFile<readonly KnownToken[]>;

  constructor(options: Omit<WatchedFileOptions<unknown>, "setting" | "parse">) {
    this.file = new WatchedFile({ ...options, setting: "NATGW_TOKEN_FILE", parse: readTokens });
  }

  /** Whose token an `Authorization` header carries. Compares with all of them in constant time. */
  async find(header: string | undefined): Promise<Caller | undefined> {
    await this.file.recheck();
    const [, presented] = header?.match(/^Bearer +([\x21-\x7e]+)$/i) ?? [];
    if (presented === undefined) return undefined;
    const given = digest(presented);
    let found: KnownToken | undefined;
    for (const token of this.file.current ?? []) if (timingSafeEqual(given, token.digest)) found = token;
    return found && { identity: { kind: "token", name: found.name }, role: found.role };
  }
}

function readTokens(text: string): readonly KnownToken[] {
  const content = parseTokens(text);
  return content.kind === "plain"
    ? [{ name: unnamedToken, role: "write", digest: digest(content.token) }]
    : content.tokens.map((token) => ({ ...token, digest: Buffer.from(token.digest, "hex") }));
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
