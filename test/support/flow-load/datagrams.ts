/**
 * New UDP flows at a fixed rate, each from a port of its own. Prints one line a flow.
 *
 *     node datagrams.ts receive PORT                      "<client's port> <port it was seen from>"
 *     node datagrams.ts send ADDRESS PORT RATE SECONDS    "<port> <before it was sent> <after>", Unix time in ms
 */
import { createSocket } from "node:dgram";
import { setTimeout as delay } from "node:timers/promises";

const [role, ...args] = process.argv.slice(2);
const tickMs = 10;
const firstPort = 10_000;
const ports = 50_000;
/** A socket is closed after that: the datagram has left. */
const lingerMs = 50;

if (role === "receive") receive(Number(args[0]));
else await send(args[0] ?? "", Number(args[1]), Number(args[2]), Number(args[3]));

function receive(port: number): void {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  let lines = "";
  socket.on("message", (message, from) => {
    lines += `${message.toString("latin1")} ${from.port}\n`;
  });
  setInterval(() => {
    if (lines !== "") process.stdout.write(lines);
    lines = "";
  }, 100);
  socket.bind(port, () => process.stderr.write("ready\n"));
}

async function send(address: string, port: number, rate: number, seconds: number): Promise<void> {
  const begunMs = performance.now();
  const total = rate * seconds;
  let lines = "";
  let done = 0;
  const open = (own: number) => {
    const socket = createSocket("udp4");
    socket.bind(own, () => {
      const before = Date.now();
      socket.send(String(own), port, address, () => {
        lines += `${own} ${before} ${Date.now()}\n`;
        done++;
      });
      setTimeout(() => socket.close(), lingerMs);
    });
  };
  for (let sent = 0; done < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - begunMs) * rate) / 1000));
    for (; sent < due; sent++) open(firstPort + (sent % ports));
    process.stdout.write(lines);
    lines = "";
    await delay(tickMs);
  }
  process.stdout.write(lines);
}
