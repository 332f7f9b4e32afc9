/** The route that the script `nat-gateway.sh` calls: what it answers, stores and waits for. */
import { networkInterfaces } from "node:os";
import t from "tap";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import type { ObservedLink } from "../../../../../lib/model/observed.ts";
import type { Reason } from "../../../../../lib/model/status.ts";
import { type TestApi, testApi } from "../../../../support/api-fakes.ts";

const path = "/v1/kube-ovn/nat-gateway";

async function call({ app }: TestApi, ...args: readonly string[]): Promise<string> {
  const reply = await app.inject({
    method: "POST",
    url: path,
    headers: { "content-type": "application/octet-stream" },
    payload: args.map((arg) => `${arg}\0`).join(""),
  });
  return `${reply.statusCode} ${reply.body}`;
}

function apiWith(...interfaces: readonly string[]): TestApi {
  const api = testApi();
  see(api, ...interfaces);
  api.board.outcome = "done";
  return api;
}

function see({ reconciler }: TestApi, ...interfaces: readonly string[]): void {
  const links = interfaces.map((name) => ({ name: name as InterfaceName }) as ObservedLink);
  reconciler.network = { links, addresses: [], routes: [], sysctls: new Map() };
}

const notInitialized = "200 err nat gateway not initialized\nexit 1\n";
const success = "200 exit 0\n";

t.test("before init only QoS is allowed", async (t) => {
  const api = apiWith("eth0", "net1");
  t.equal(await call(api, "eip-add", "203.0.113.10/24"), notInitialized);
  t.equal(await call(api, "floating-ip-del", "203.0.113.10"), notInitialized);
  t.notOk(api.state.current.isSet);
  t.equal(await call(api, "eip-egress-qos-del", "203.0.113.10"), success);
  t.notOk(api.state.current.isSet, "nothing was written");

  t.equal(await call(api, "init"), success);
  t.match(api.state.current, { isSet: true, desired: { revision: 1, generation: 0 } });
  t.equal(api.reconciler.announced, 1);
  t.equal(await call(api, "eip-add", "203.0.113.10/24"), success);
  t.equal(await call(api, "init"), success, "again");
  t.equal(api.state.current.desired.eips.size, 1, "what is stored stays");
  t.equal(api.state.current.desired.revision, 2);
  await api.app.close();
});

t.test("a QoS rule before init is stored, and stands for no init", async (t) => {
  const api = apiWith("eth0", "net1");
  t.equal(await call(api, "qos-add", "egress,net1,3,matchall,,,,50,10"), success);
  t.equal(await call(api, "eip-ingress-qos-add", "203.0.113.10,1,2,1"), success);
  t.equal(api.state.current.desired.limits.size, 2);
  t.equal(await call(api, "eip-add", "203.0.113.10/24"), notInitialized);
  t.equal(await call(api, "floating-ip-del", "203.0.113.10"), notInitialized);
  t.equal(await call(api, "init"), success);
  t.equal(api.state.current.desired.limits.size, 2);
  t.equal(await call(api, "eip-add", "203.0.113.10/24"), success);
  await api.app.close();
});

const [own] = Object.entries(networkInterfaces()).filter(([name]) => name !== "lo");
const skip = own === undefined && "no interface here";

t.test(
  "init does not take an interface on which the API listens for the external one",
  { skip },
  async (t) => {
    const [name = "", [first] = []] = own ?? [];
    const api = testApi({ listen: [{ host: first?.address ?? "", port: 9477 }] });
    see(api, "vpc0", name);
    t.match(
      await call(api, "init", `vpc0,${name}`),
      `is an address on the external interface ${name}\nexit 1`,
    );
    t.notOk(api.state.current.isSet);
    await api.app.close();
  },
);

t.test("init needs the interfaces", async (t) => {
  const api = apiWith("eth0");
  t.equal(await call(api, "init"), "200 err interface net1 does not exist\nexit 1\n");
  t.notOk(api.state.current.isSet);
  api.reconciler.failure = new GatewayError("unreadable", "cut short");
  t.match(await call(api, "init"), /^200 err .*cut short.*\nexit 1\n$/);
  await api.app.close();
});

t.test("init fails while the kernel lacks what every gateway has", async (t) => {
  const api = apiWith("eth0", "net1");
  api.reconciler.commonRulesFault = "the kernel said no";
  t.equal(
    await call(api, "init"),
    "200 err the gateway's chains are not programmed: the kernel said no\nexit 1\n",
  );
  t.ok(api.state.current.isSet, "it is stored, and the agent goes on trying");
  api.reconciler.onReconcile = () => {
    api.reconciler.commonRulesFault = undefined;
  };
  t.equal(await call(api, "init"), success, "a pass of now decides");
  await api.app.close();
});

t.test("calls store, wait until Programmed or gone, and say what is wrong", async (t) => {
  const api = apiWith("eth0", "net1");
  await call(api, "init");
  t.equal(await call(api, "floating-ip-add", "203.0.113.10,10.0.1.5"), success);
  t.match(api.board.waited.at(-1), {
    ready: [],
    programmed: ["fips/203.0.113.10"],
    gone: [],
    timeoutMs: 30_000,
  });
  t.equal(
    await call(api, "floating-ip-add", "203.0.113.10,10.0.1.6"),
    "200 out 203.0.113.10 already maps to 10.0.1.5\nexit 1\n",
  );
  t.match(await call(api, "floating-ip-add", "203.0.113.10"), /^200 err floating-ip-add .*\nexit 1\n$/);
  t.equal(await call(api), "200 err an operation is missing\nexit 1\n");

  api.board.outcome = "timeout";
  t.match(
    await call(api, "floating-ip-del", "203.0.113.10"),
    /^200 err .* in time; the agent goes on trying\nexit 1\n$/,
  );
  t.match(api.board.waited.at(-1), { programmed: [], gone: ["fips/203.0.113.10"] });
  t.equal(api.state.current.desired.fips.size, 0, "it is stored");
  api.board.outcome = "stopping";
  t.match(await call(api, "eip-add", "203.0.113.10/24"), /^200 again\n$/);
  t.equal(await call(api, "init"), "200 again\n", "as when an agent starts again with other interfaces");
  await api.app.close();
});

t.test("an object that cannot be programmed", async (t) => {
  const api = apiWith("eth0", "net1");
  await call(api, "init");
  api.board.outcome = "settled";
  const fail = (reason: Reason, call: string) =>
    api.board.programmed.set(call as never, { reason, message: "why" });
  fail("Quarantined", "eips/203.0.113.10");
  t.equal(
    await call(api, "eip-add", "203.0.113.10/24"),
    "200 err eips/203.0.113.10 is not programmed: Quarantined: why\nexit 1\n",
  );
  fail("NotSupported", "limits/203.0.113.10-ingress");
  t.equal(
    await call(api, "eip-ingress-qos-add", "203.0.113.10,1,2,1"),
    success,
    "stored for a later version",
  );
  fail("NotSupported", "dnats/203.0.113.10-tcp-80");
  t.match(
    await call(api, "nft-dnat-map-add", "203.0.113.10,80,tcp,clientip,60,10.0.1.5:80"),
    /^200 err dnats\/203.0.113.10-tcp-80 is not programmed: NotSupported: why\nexit 1\n$/,
    "a Service that cannot work fails",
  );
  await api.app.close();
});

t.test("refusals of the store", async (t) => {
  const api = apiWith("eth0", "net1");
  api.reconciler.isUnadopted = true;
  t.match(await call(api, "init"), /^200 err the kernel holds NAT state .*\nexit 1\n$/);
  api.reconciler.isUnadopted = false;
  await call(api, "init");
  api.state.failure = new GatewayError("storage-unavailable", "the disk is full");
  t.equal(await call(api, "eip-add", "203.0.113.10/24"), "200 err the disk is full\nexit 1\n");
  await api.app.close();
});

t.test("other bodies are refused as everywhere", async (t) => {
  const api = apiWith("eth0", "net1");
  const reply = await api.app.inject({ method: "POST", url: path, payload: { args: [] } });
  t.equal(reply.statusCode, 422, "arguments are no JSON");
  const large = await api.app.inject({
    method: "POST",
    url: "/v1/batch",
    headers: { "content-type": "application/octet-stream" },
    payload: "x",
  });
  t.equal(large.statusCode, 415, "no other route takes arguments");
  await api.app.close();
});

t.test("on TCP the path is forbidden", async (t) => {
  const api = testApi({ listen: [{ host: "127.0.0.1", port: 0 }] });
  await api.api.listen();
  const reply = await fetch(`http://${api.api.addresses[1]}${path}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: "init\0",
  });
  t.equal(reply.status, 403);
  t.match(await reply.json(), { code: "forbidden", detail: /Unix socket/ });
  t.notOk(api.state.current.isSet);
  await api.api.close();
});
