/**
 * Which client certificates may do what, by their subject alternative names, a line each:
 *
 *     write:uri:spiffe://cluster.local/ns/kube-system/sa/controller
 *     read:dns:prometheus.monitoring.svc
 *
 * Names are compared whole: there are no wildcards.
 */
import { type Line, significantLines } from "./lines.ts";
import { isRole, type Role } from "./role.ts";

/** By name: `uri:spiffe://…` as written, `dns:…` in lower case. */
export type ClientRoles = ReadonlyMap<string, Role>;

const maxClients = 1_000;

/** @throws Error with one line that says what is wrong */
export function parseClients(text: string): ClientRoles {
  const lines = significantLines(text);
  if (lines.length === 0) throw new Error("the file names no client");
  if (lines.length > maxClients) throw new Error(`the file has more than ${maxClients} lines`);
  const clients = new Map<string, Role>();
  for (const line of lines) {
    const { name, role } = parseLine(line);
    if (clients.has(name)) throw new Error(`line ${line.number}: the name stands in an earlier line, too`);
    clients.set(name, role);
  }
  return clients;
}

function parseLine({ number, text }: Line): { readonly name: string; readonly role: Role } {
  const [, role = "", kind = "", value = ""] = /^([^:]*):([^:]*):(\S+)$/.exec(text) ?? [];
  const wrong = (what: string) =>
    new Error(`line ${number}: ${what}; a line is role:uri:NAME or role:dns:NAME`);
  if (value === "") throw wrong("not three parts");
  if (!isRole(role)) throw wrong("the role is not read or write");
  if (kind !== "uri" && kind !== "dns") throw wrong("the kind is not uri or dns");
  if (value.includes("*")) throw wrong("wildcards are not supported");
  return { name: nameOf(kind, value), role };
}

/**
 * The first name with the most rights among the subject alternative names of a certificate; `undefined` if none is listed.
 *
 * @param subjectAltName as Node prints it: `DNS:a.example, URI:spiffe://b`, names with special characters in JSON quotes
 */
export function findClient(
  clients: ClientRoles,
  subjectAltName: string | undefined,
): { readonly name: string; readonly role: Role } | undefined {
  const found = namesIn(subjectAltName ?? "").flatMap((name) => {
    const role = clients.get(name);
    return role === undefined ? [] : [{ name, role }];
  });
  return found.find(({ role }) => role === "write") ?? found[0];
}

/** None if any part of the text is not understood. */
function namesIn(text: string): readonly string[] {
  const names: string[] = [];
  const entry = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;
  while (entry.lastIndex < text.length) {
    const [, type, value = ""] = entry.exec(text) ?? [];
    if (type === undefined) return [];
    const kind = type === "URI" ? "uri" : type === "DNS" ? "dns" : undefined;
    const plain = unquoted(value);
    if (kind !== undefined && plain !== undefined) names.push(nameOf(kind, plain));
  }
  return names;
}

function unquoted(value: string): string | undefined {
  if (!value.startsWith('"')) return value;
  try {
    const text: unknown = JSON.parse(value);
    return typeof text === "string" ? text : undefined;
  } catch {
    return undefined;
  }
}

function nameOf(kind: "uri" | "dns", value: string): string {
  return kind === "dns" ? `dns:${value.toLowerCase()}` : `uri:${value}`;
}
