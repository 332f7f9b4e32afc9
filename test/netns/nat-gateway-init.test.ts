/** `nat-gateway.sh init` with a real agent: what it needs, and what the gateway is like before it. */
import t, { type Test } from "tap";
import { WireWatch } from "../faults/wire-watch.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { Host } from "../support/host.ts";
import { imageSettings } from "../support/kube-ovn-simulator/player.ts";
import { labAddresses } from "../support/lab.ts";
import { callScript } from "../support/nat-gateway.ts";
import { udp } from "../support/targets.ts";

const success = { exitCode: 0, stdout: "", stderr: "" };
const eip = "203.0.113.10";
const byVpc = `default via ${labAddresses.vpcRouter} dev eth0`;
const byOutside = `default via ${labAddresses.outside} dev net1 proto 196 onlink`;

async function defaultRoutes(gw: Gateway): Promise<readonly string[]> {
  const text = await gw.lab.exec("gw", ["ip", "-4", "route", "show", "default"]);
  return text.split("\n").flatMap((line) => (line.trim() === "" ? [] : line.trim()));
}

for (const dataplane of dataplanes)
  t.test(`${dataplane}: init fails while the kernel refuses the chains`, async (t) => {
    const gw = await Gateway.make(t, dataplane, {}, { isSilent: true, isBreakable: true });
    await gw.faults.break("fails");
    gw.startAgent();
    for (const attempt of [1, 2])
      t.match(
        await callScript(gw, "argv", ["init"], {}, 20_000),
        { exitCode: 1, stdout: "", stderr: "the gateway's chains are not programmed: " },
        `attempt ${attempt}`,
      );
    await gw.faults.mend();
    t.same(await callScript(gw, "argv", ["init"]), success);
    await gw.expectConverged(t);
  });

for (const binding of ["address", "route"])
  t.test(`with GATEWAY_V6 an eip-add brings the default route of IPv6; EIPs bound by ${binding}`, (t) =>
    expectDefaultRouteV6(t, binding),
  );

async function expectDefaultRouteV6(t: Test, binding: string): Promise<void> {
  const settings = { ...imageSettings, NATGW_EIP_BINDING: binding };
  const gw = await Gateway.start(t, "iptables-nft", settings, { isSilent: true });
  // The kernel gives itself no link-local address: it would do so during the test.
  for (const setting of ["addr_gen_mode=1", "disable_ipv6=0"])
    await gw.lab.exec("gw", ["sysctl", "-qw", `net.ipv6.conf.net1.${setting}`]);
  const call = (GATEWAY_V6: string, ...args: readonly string[]) =>
    callScript(gw, "argv", args, { GATEWAY_V6 });
  const routes = async () => {
    const text = await gw.lab.exec("gw", ["ip", "-6", "route", "show", "default"]);
    return text.split("\n").flatMap((line) => (line.trim() === "" ? [] : line.trim()));
  };
  t.same(await call("2001:db8::1", "init"), success);
  t.same(await call("", "eip-add", `${eip}/24`), success);
  t.same(await routes(), [], "none without it");
  for (const attempt of ["first", "again"]) {
    t.same(await call("2001:db8::1", "eip-add", `${eip}/24`), success, attempt);
    t.match(await routes(), [/^default via 2001:db8::1 dev net1 .*onlink/], attempt);
  }
  t.same(await call("2001:db8::2", "eip-add", `${eip}/24`), success);
  t.match(await routes(), [/^default via 2001:db8::2 dev net1 /], "in place of another");
  t.match(await call("$(id)", "eip-add", `${eip}/24`), { exitCode: 1, stdout: "", stderr: /^GATEWAY_V6: / });
  await gw.expectConverged(t);
}

t.test("noDefaultEIP: the default route stays on eth0 until the first eip-add", async (t) => {
  const gw = await Gateway.make(t, "iptables-nft", {}, { isSilent: true });
  await gw.lab.ip("gw", "address flush dev net1", `route add ${byVpc}`);
  await gw.startAgent(imageSettings).whenReady();
  t.same(await defaultRoutes(gw), [byVpc], "before init");
  for (const call of [
    ["init"],
    ["floating-ip-add", `${eip},10.0.1.5`],
    ["eip-egress-qos-add", `${eip},1,2,1`],
  ]) {
    t.same(await callScript(gw, "argv", call), success, call.join(" "));
    t.same(await defaultRoutes(gw), [byVpc], call.join(" "));
  }
  t.same(await callScript(gw, "argv", ["eip-add", `${eip}/24`]), success);
  t.same(await defaultRoutes(gw), [byOutside]);
  t.same(await callScript(gw, "argv", ["eip-del", `${eip}/24`]), success);
  t.same(await defaultRoutes(gw), [], "the kernel takes it along with the last address");
  await gw.expectConverged(t);
});

for (const dataplane of dataplanes)
  t.test(`${dataplane}: with other interfaces nothing leaves untranslated before init either`, async (t) => {
    const gw = await Gateway.make(t, dataplane);
    const names = { net1: "net2", eth0: "net1" };
    await gw.lab.ip(
      "gw",
      ...Object.entries(names).flatMap(([before, after]) => [
        `link set ${before} down`,
        `link set ${before} name ${after}`,
        `link set ${after} up`,
      ]),
      // The interface of the primary CNI.
      "link add eth0 type veth peer name cni0",
      "address add 192.0.2.2/24 dev eth0",
      "link set eth0 up",
      "link set cni0 up",
      "route add default via 192.0.2.1 dev eth0",
      "route add 10.0.0.0/8 via 10.0.1.1 dev net1",
    );
    const wire = new WireWatch(gw.lab);
    await wire.start();
    await gw.startAgent(imageSettings).whenReady();
    const pod1 = gw.host("pod1");
    t.ok(await pod1.hearsNothing(udp(labAddresses.outside, 53)));
    t.same(await wire.leaks(), []);
    const own = new Host(gw.lab, "gw");
    t.teardown(() => own.stop());
    await own.serve("udp", 3784);
    const bfd = udp(labAddresses.vpc, 3784);
    t.ok(await pod1.hearsNothing(bfd), "no BFD that would draw traffic");
    t.same(await defaultRoutes(gw), ["default via 192.0.2.1 dev eth0"]);
    for (const call of [
      ["init", "net1,net2"],
      ["snat-add", `${eip},10.0.0.0/16,--random-fully`],
      ["eip-add", `${eip}/24`],
    ])
      t.same(await callScript(gw, "argv", call), success, call.join(" "));
    t.match(await pod1.ask(udp(labAddresses.outside, 53)), { seenAs: eip });
    t.match(await pod1.ask(bfd), { answeredBy: "gw" });
    t.same(await wire.leaks(), []);
    t.same(await defaultRoutes(gw), [byOutside.replace("net1", "net2")]);
    await gw.expectConverged(t);
  });

t.test(
  "before init another program's default route stays, though the external interface has an address",
  async (t) => {
    const gw = await Gateway.make(t, "iptables-nft", {}, { isSilent: true });
    await gw.lab.ip("gw", `route add ${byVpc}`);
    await gw.startAgent(imageSettings).whenReady();
    t.same(await defaultRoutes(gw), [byVpc]);
    t.same(await callScript(gw, "argv", ["init"]), success);
    t.same(await defaultRoutes(gw), [byOutside]);
    await gw.expectConverged(t);
  },
);
