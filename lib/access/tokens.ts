/**
 * The token file. It holds named tokens, a line each, or nothing but one token:
 *
 *     # name:role:SHA-256 of the token
 *     controller:write:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
 *     prometheus:read:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
 *
 * Messages of errors never quote the file: what stands there may be a token.
 */
import { type Line, significantLines } from "./lines.ts";
import { isRole, type Role } from "./role.ts";

export interface NamedToken {
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token, 64 hexadecimal digits in lower case. */
  readonly digest: string;
}

export type TokenFileContent =
  /** A file of an earlier version: the token itself, which may write. */
  | { readonly kind: "plain"; readonly token: string }
  | { readonly kind: "named"; readonly tokens: readonly NamedToken[] };

/** A longer token does not fit into the headers of a request. */
const maxTokenLength = 4_096;
export const maxTokens = 256;

/** @throws Error with one line that says what is wrong, without the file's content */
export function parseTokens(text: string): TokenFileContent {
  const lines = significantLines(text);
  const [first] = lines;
  if (first === undefined) throw new Error("the file holds no token");
  if (lines.length === 1 && !isMeantAsNamed(first.text))
    return { kind: "plain", token: parsePlain(first.text) };
  if (lines.length > maxTokens) throw new Error(`the file has more than ${maxTokens} tokens`);
  const tokens = lines.map(parseNamed);
  const digests = new Set(tokens.map(({ digest }) => digest));
  if (digests.size < tokens.length) throw new Error("one SHA-256 stands in several lines");
  return { kind: "named", tokens };
}

/** A mistake in a single named line must not make the line itself the token. */
function isMeantAsNamed(line: string): boolean {
  const parts = line.split(":").map((part) => part.trim());
  if (parts.length > 1 && parts.some((part) => /^[0-9a-f]{64}$/i.test(part))) return true;
  const [, role = "", digest = ""] = parts;
  return parts.length === 3 && (isRole(role.toLowerCase()) || /^[0-9a-f]{32,}$/i.test(digest));
}

function parsePlain(token: string): string {
  if (token.length > maxTokenLength) throw new Error(`the token is longer than ${maxTokenLength} characters`);
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new Error("the token has spaces or characters that are not printable ASCII");
  return token;
}

function parseNamed({ number, text }: Line): NamedToken {
  const [name = "", role = "", digest = "", ...rest] = text.split(":");
  const wrong = (what: string) => new Error(`line ${number}: ${what}; a line is name:role:SHA-256`);
  if (digest === "" || rest.length > 0) throw wrong("not three parts");
  if (!/^[A-Za-z0-9._@-]{1,64}$/.test(name)) throw wrong("the name is not 1 to 64 of A-Z a-z 0-9 . _ @ -");
  if (!isRole(role)) throw wrong("the role is not read or write");
  if (!/^[0-9a-f]{64}$/i.test(digest)) throw wrong("the last part is not 64 hexadecimal digits");
  return { name, role, digest: digest.toLowerCase() };
}
