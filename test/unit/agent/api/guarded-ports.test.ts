import { createServer } from "node:net";
import t from "tap";
import { apiGuardOf, withPorts } from "../../../../agent/api/guarded-ports.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";

const interfaces = {
  lo: ["127.0.0.1", "::1"],
  eth0: ["10.0.1.254", "fe80::1"],
  net1: ["203.0.113.2"],
  mgmt: ["fd00:0:0::7"],
};

t.test("apiGuardOf", async (t) => {
  const guardOf = (...endpoints: readonly (readonly [host: string, port: number])[]) =>
    apiGuardOf(
      endpoints.map(([host, port]) => ({ host, port })),
      interfaces,
      "net1" as InterfaceName,
    );
  t.strictSame(guardOf(["127.0.0.1", 9477], ["::1", 9477], ["127.0.0.9", 80]), {
    ports: [80, 9477],
    open: [],
  });
  t.strictSame(guardOf(["10.0.1.254", 9477], ["fd00::7", 9478]), {
    ports: [9477, 9478],
    open: [
      { interface: "eth0", address: "10.0.1.254", port: 9477 },
      { interface: "mgmt", address: "fd00::7", port: 9478 },
    ],
  });
  t.strictSame(guardOf(["fe80::1%eth0", 1]).open, [{ interface: "eth0", address: "fe80::1", port: 1 }]);
  t.strictSame(
    guardOf(["203.0.113.2", 1], ["10.9.9.9", 1]),
    { ports: [1], open: [] },
    "outside, or nobody's",
  );
});

t.test("withPorts", async (t) => {
  const fixed = { host: "127.0.0.1", port: 9477 };
  const [kept, found] = await withPorts([fixed, { host: "127.0.0.1", port: 0 }]);
  t.equal(kept, fixed);
  t.ok((found?.port ?? 0) > 0);
  const server = createServer().listen(found?.port, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  server.close();
  await t.rejects(withPorts([{ host: "192.0.2.1", port: 0 }]), { code: "bad-config" });
});
