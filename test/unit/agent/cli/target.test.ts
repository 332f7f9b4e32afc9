import t from "tap";
import { targetOf } from "../../../../agent/cli/target.ts";

t.test("where the agent is", async (t) => {
  t.same(targetOf({}, {}), { socket: "/run/natgw/agent.sock" });
  t.same(targetOf({}, { NATGW_SOCKET: "/a" }), { socket: "/a" });
  t.same(targetOf({ socket: "/b" }, { NATGW_SOCKET: "/a" }), { socket: "/b" });
  const server = "https://10.0.0.5:9477";
  t.match(targetOf({ server, tokenFile: "t", ca: "c" }, { NATGW_SOCKET: "/a" }), {
    server,
    tokenFile: "t",
    ca: "c",
  });
  for (const host of ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
    t.match(targetOf({ server: `http://${host}:1` }, {}), { server: `http://${host}:1` });
});

t.test("contradictions", async (t) => {
  const server = "https://10.0.0.5:9477";
  for (const [options, message] of [
    [{ tokenFile: "t" }, /--token-file needs --server/],
    [{ socket: "/a", server }, /give one of them/],
    [{ server, cert: "c" }, /--cert needs --key/],
    [{ server: "10.0.0.5" }, /must be a URL/],
    [{ server: "ftp://10.0.0.5" }, /must be a URL/],
    [{ server: `${server}/v1` }, /nothing but a host and a port/],
    [{ server: "http://10.0.0.5" }, /use https/],
    [{ server: "http://localhost.example" }, /use https/],
    [{ server: "http://127.0.0.1", ca: "c" }, /need https/],
  ] as const)
    t.throws(() => targetOf(options, {}), { exitCode: 2, message }, JSON.stringify(options));
});
