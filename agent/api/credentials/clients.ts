/** The client certificates of the TCP listeners, and what each may do. */

import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { type ClientRoles, findClient, parseClients } from "../../../lib/access/clients.ts";
import type { Caller } from "../identity.ts";
import { WatchedFile, type WatchedFileOptions } from "./watched-file.ts";

export class Clients {
  /** The list of those who may. `undefined`: whoever has a certificate of the CA may write. */
  readonly file: WatchedFile<ClientRoles> | undefined;

  constructor(
    options: Omit<WatchedFileOptions<unknown>, "path" | "setting" | "parse">,
    path: string | undefined,
  ) {
    this.file =
      path === undefined
        ? undefined
        : new WatchedFile({ ...options, path, setting: "NATGW_TLS_ALLOW_FILE", parse: parseClients });
  }

  /** Whose certificate the connection shows, if the CA signed it and the list has it. */
  async find(socket: Socket): Promise<Caller | undefined> {
    await this.file?.recheck();
    const certificate =
      socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined;
    if (certificate === undefined) return undefined;
    if (this.file === undefined) {
      const subject = certificate.subject.replaceAll("\n", ", ");
      return { identity: { kind: "certificate", subject }, role: "write" };
    }
    const client = findClient(this.file.current ?? new Map(), certificate.subjectAltName);
    return client && { identity: { kind: "certificate", subject: client.name }, role: client.role };
  }
}
