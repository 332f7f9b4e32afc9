/** `nat-gateway.sh init` with a real agent: what it needs, and what the gateway is like before it. */
import t from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { imageSettings } from "../support/kube-ovn-simulator/player.ts";
import { labAddresses } from "../support/lab.ts";
import { callScript } from "../support/nat-gateway.ts";

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
