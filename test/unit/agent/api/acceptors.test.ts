/** A crowd of connections is accepted in few turns of the event loop, and a listener closes with all its handles. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import { closeListener, listenTcp, listenUnix, type OpenListener } from "../../../../agent/api/listeners.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const crowd = 400;

async function listening(kind: "unix" | "tcp"): Promise<OpenListener> {
  const answer: Parameters<typeof listenUnix>[2] = (_request, response) => {
    response.end("here");
  };
  const ignore = () => {};
  if (kind === "tcp") return listenTcp({ host: "127.0.0.1", port: 0 }, undefined, answer, ignore);
  const directory = temporaryDirectory("acceptors");
  return listenUnix(join(directory, "agent.sock"), 0o600, answer, ignore);
}

function connectTo({ kind, address }: OpenListener): Socket {
  const [host = "", port] = address.split(":");
  return kind === "unix" ? connect(address) : connect(Number(port), host);
}

for (const kind of ["unix", "tcp"] as const)
  t.test(`${kind}: a crowd`, async (t) => {
    const listener = await listening(kind);
    const { server } = listener;
    let [accepted, turns] = [0, 0];
    server.on("connection", () => {
      accepted++;
    });
    const clients = Array.from({ length: crowd }, () => connectTo(listener));
    const connected = Promise.all(clients.map((client) => once(client, "connect")));
    const count = () => {
      turns++;
      if (accepted < crowd) setImmediate(count);
    };
    count();
    await connected;
    while (accepted < crowd) await new Promise(setImmediate);
    t.ok(turns < crowd / 4, `${turns} turns for ${crowd} connections`);

    const [first] = clients;
    first?.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    t.match(String(await once(first as Socket, "data")), "here", "they are served");

    const { stdout } = spawnSync("sh", ["-c", "ls -l /proc/$$/fd"], { encoding: "utf8" });
    t.notMatch(stdout, / (?:[3-9]|[1-9][0-9]+) -> socket/, "a program that the agent runs has none of them");

    const ended = Promise.all(clients.map((client) => client.closed || once(client.resume(), "close")));
    await closeListener(listener, 0);
    await ended;
    const late = connectTo(listener);
    const [error] = (await once(late, "error")) as [NodeJS.ErrnoException];
    t.match(error.code, /ECONNREFUSED|ENOENT/, "nobody listens any more");
  });

t.test("more than Node lets wait by itself are not turned away", async (t) => {
  const listener = await listening("unix");
  const errors: Error[] = [];
  // The kernel decides within connect(), before anything is accepted.
  const clients = Array.from({ length: 1_500 }, () =>
    connectTo(listener).on("error", (error) => errors.push(error)),
  );
  await Promise.allSettled(clients.map((client) => client.pending && once(client, "connect")));
  t.same(errors, []);
  for (const client of clients) client.destroy();
  await closeListener(listener, 0);
});
