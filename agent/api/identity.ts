/** Who sent a request. The access check sets it on every request before any route runs. */
import type { Role } from "../../lib/access/role.ts";

export type Identity =
  /** A process of this machine, by the Unix socket. `pid` is 0 if it is in another pid namespace. */
  | { readonly kind: "socket"; readonly uid: number; readonly pid: number }
  /** A token of the token file. An old one-line file has one token: {@link unnamedToken}. */
  | { readonly kind: "token"; readonly name: string }
  /** The name that the list of clients has (`uri:spiffe://…`, `dns:…`); without a list the certificate's subject. */
  | { readonly kind: "certificate"; readonly subject: string }
  /** Nobody was asked: an open path, a loopback listener without credentials, or a request within the process. */
  | { readonly kind: "anonymous" };

/** The name of the token of a file that holds nothing but a token. */
export const unnamedToken = "default";

export const anonymous: Identity = { kind: "anonymous" };

/** Somebody, and what they may do. */
export interface Caller {
  readonly identity: Identity;
  readonly role: Role;
}

/** Short and in one line, for logs: `token:ci`, `uid:0`. */
export function identityText(identity: Identity): string {
  switch (identity.kind) {
    case "socket":
      return `uid:${identity.uid}`;
    case "token":
      return `token:${identity.name}`;
    case "certificate":
      return `certificate:${identity.subject}`;
    case "anonymous":
      return "anonymous";
  }
}

declare module "fastify" {
  interface FastifyRequest {
    identity: Identity;
  }
}
