/**
 * Further handles on a listening socket. libuv accepts one connection for each handle in a turn of the event loop: with one handle, a
 * probe that comes after a crowd would wait for as many turns as the crowd has connections.
 */
import { createServer, type Server, type ServerOpts, type Socket } from "node:net";
import { descriptorOf } from "../kernel/arrival.ts";
import { duplicate } from "../kernel/libc.ts";

const acceptors = 31;

/**
 * Gives a server that listens what further handles accept. Where the kernel refuses one, fewer have to do.
 *
 * @param backlog of the socket
 * @returns the handles, to be closed with the server
 */
export function openAcceptors(server: Server, backlog: number): readonly Server[] {
  const listening = descriptorOf(server);
  if (listening === undefined) return [];
  const opened: Server[] = [];
  for (let one = 0; one < acceptors; one++) {
    const fd = duplicate(listening);
    if (fd < 0) break;
    const acceptor = createServer(connectionOptions(server));
    acceptor.on("connection", (socket: Socket) => server.emit("connection", socket));
    acceptor.on("error", () => acceptor.close());
    opened.push(acceptor.listen({ fd }, backlog));
  }
  return opened;
}

/** How a server takes connections: HTTP and HTTPS differ in it. */
function connectionOptions(server: Server): ServerOpts {
  const isOn = (name: "allowHalfOpen" | "noDelay" | "keepAlive") => Object(server)[name] === true;
  return { allowHalfOpen: isOn("allowHalfOpen"), noDelay: isOn("noDelay"), keepAlive: isOn("keepAlive") };
}
