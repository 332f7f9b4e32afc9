/**
 * Runs on a host of a lab. `pump.ts sink <port> <warm-up ms> <ms>` accepts one connection, ignores what comes in during
 * the warm-up, counts during the time, prints `bytes ms` and ends. `pump.ts source <address> <port>` sends without pause
 * until the other side ends.
 */
import { connect, createServer } from "node:net";

const [role, ...args] = process.argv.slice(2);
if (role === "sink") sink(Number(args[0]), Number(args[1]), Number(args[2]));
else source(args[0] ?? "", Number(args[1]));

function sink(port: number, warmUpMs: number, ms: number): void {
  const server = createServer((socket) => {
    let [bytes, isCounting] = [0, false];
    socket.on("data", (data) => {
      if (isCounting) bytes += data.length;
    });
    socket.on("error", () => {});
    setTimeout(() => {
      isCounting = true;
      const beganMs = performance.now();
      setTimeout(() => {
        process.stdout.write(`${bytes} ${performance.now() - beganMs}\n`);
        process.exit();
      }, ms);
    }, warmUpMs);
  });
  server.listen({ port, host: "0.0.0.0" }, () => process.stderr.write("listening\n"));
}

function source(address: string, port: number): void {
  const socket = connect(port, address);
  const block = Buffer.alloc(64 * 1024);
  const send = () => {
    while (socket.write(block));
  };
  socket.on("connect", send).on("drain", send);
  socket.on("error", () => process.exit()).on("close", () => process.exit());
}
