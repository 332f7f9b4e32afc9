/** `lb-svc.sh`, in a namespace without an agent: what it leaves in the kernel, and traffic through it. */

import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { Gateway, type Variant } from "../support/gateway.ts";
import { gatewayMacs, labAddresses } from "../support/lab.ts";
import { callTrimmed } from "../support/nat-gateway.ts";
import { until } from "../support/run.ts";
import { tcp, udp } from "../support/targets.ts";

const script = fileURLToPath(new URL("../../scripts/lb-svc.sh", import.meta.url));
const lb = "203.0.113.10";
const success = { exitCode: 0, stdout: "", stderr: "" };

for (const variant of ["iptables-nft", "iptables-legacy"] as const satisfies readonly Variant[]) {
  t.test(variant, async (t) => {
    const gw = await Gateway.make(t, variant);
    await symlink(`/usr/sbin/${variant}`, join(gw.toolbox.directory, "iptables"));
    const call = async (...args: readonly string[]) => {
      const env = { PATH: `${gw.toolbox.directory}:${process.env.PATH}` };
      return callTrimmed(gw, ["bash", script, ...args], env);
    };
    const state = async () => [
      ...(await gw.rules("nat")),
      ...(await gw.addresses("net1")),
      ...(await gw.lab.exec("gw", ["ip", "-4", "rule", "show"]))
        .split("\n")
        .filter((line) => line.includes("iif")),
      ...(await gw.lab.exec("gw", ["ip", "-4", "route", "show", "table", "all"]))
        .split("\n")
        .filter((line) => line.includes("table 100")),
    ];
    const web = tcp(lb, 8080);
    // iptables-nft warns of such tables whenever it lists rules.
    await gw.lab.exec("gw", ["iptables-legacy", "-t", "nat", "-S"]);

    t.same(await call("dnat-del", `${lb},8080,tcp,10.0.1.5,80`), success, "absent");
    for (const args of [
      ["init"],
      ["eip-add", `${lb}/24,${labAddresses.outside}`],
      ["dnat-add", `${lb},8080,TCP,10.0.1.5,80,10.0.1.5`, `${lb},8053,udp,10.0.1.5,53,10.0.1.5`],
      ["dnat-add", `${lb},3868,sctp,10.0.1.6,3868,10.0.1.6`],
    ]) {
      t.same(await call(...args), success, args.join(" "));
      const once = await state();
      t.same(await call(...args), success, `${args.join(" ")}: again`);
      t.same(await state(), once);
    }
    t.same(
      (await state()).map((line) => line.replaceAll(/\s+/g, " ").trim()).sort(),
      [
        "-A POSTROUTING -d 10.0.1.5/32 -j MASQUERADE",
        "-A POSTROUTING -d 10.0.1.6/32 -j MASQUERADE",
        `-A PREROUTING -d ${lb}/32 -p sctp -m sctp --dport 3868 -j DNAT --to-destination 10.0.1.6:3868`,
        `-A PREROUTING -d ${lb}/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.5:80`,
        `-A PREROUTING -d ${lb}/32 -p udp -m udp --dport 8053 -j DNAT --to-destination 10.0.1.5:53`,
        "10.0.1.5 via 10.0.1.5 dev eth0 table 100 onlink",
        "10.0.1.6 via 10.0.1.6 dev eth0 table 100 onlink",
        "203.0.113.0/24 dev net1 table 100 scope link",
        `${lb}/24`,
        `${labAddresses.external}/24`,
        "32764: from all iif eth0 lookup 100",
        "32765: from all iif net1 lookup 100",
        `default via ${labAddresses.outside} dev net1 table 100 onlink`,
      ].sort(),
    );
    const complete = await state();
    t.same(await call("dnat-add", `${lb},8080,tcp,10.0.1.5,81,10.0.1.5`), success, "another target port");
    t.same(
      (await state()).filter((line) => !complete.includes(line)),
      [`-A PREROUTING -d ${lb}/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.5:81`],
    );
    t.same(await call("dnat-add", `${lb},8080,tcp,10.0.1.5,80,10.0.1.5`), success, "and the first again");
    t.same((await state()).sort(), complete.sort());
    const other = ["dnat-add", `${lb},8443,tcp,10.0.1.7,443,10.0.1.7`];
    t.same(await call(...other), success);
    t.same(
      await call(...other.with(1, `${lb},8443,tcp,10.0.1.6,443,10.0.1.6`)),
      success,
      "another cluster IP",
    );
    t.same(
      (await state()).filter((line) => !complete.includes(line)),
      [`-A PREROUTING -d ${lb}/32 -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.0.1.6:443`],
      "nothing is left of the former one",
    );
    t.same(await call("dnat-del", `${lb},8443,tcp,10.0.1.6,443`), success);
    t.same((await state()).sort(), complete.sort(), "the other ports of this cluster IP stay");
    const outside = gw.host("outside");
    t.match(await outside.ask(web), { answeredBy: "pod1", seenAs: labAddresses.vpc });
    t.match(await outside.ask(udp(lb, 8053)), { answeredBy: "pod1" });

    t.same(await call("dnat-del", `${lb},8080,tcp,10.0.1.5,80`), success);
    t.ok(await outside.hearsNothing(web));
    t.match(
      await outside.ask(udp(lb, 8053)),
      { answeredBy: "pod1" },
      "the other port of the cluster IP stays",
    );
    t.same(await call("dnat-del", `${lb},8053,udp,10.0.1.5,53`), success);
    t.same(
      (await state()).filter((line) => line.includes("10.0.1.5")),
      [],
    );

    // The controller passes the addresses of both families if a subnet has both. The address moved here from another pod.
    await gw.lab.ip("gw", "address flush dev net1", `address add ${lb}/24 dev net1`);
    await gw.lab.ip("gw", `neighbor flush to ${labAddresses.outside} dev net1`);
    await gw.lab.ip("outside", `neighbor replace ${lb} lladdr 02:00:00:00:00:01 dev eth0 nud reachable`);
    const both = `${lb},2001:db8::10`;
    for (const args of [
      ["eip-add", `${lb}/24,2001:db8::10/64,${labAddresses.outside},2001:db8::1`],
      [
        "dnat-add",
        `${lb},8080,tcp,10.0.1.5,80,10.0.1.5,fd00::1`,
        `${both},8053,udp,10.0.1.5,53,10.0.1.5,fd00::1`,
      ],
    ])
      t.same(await call(...args), success, args.join(" "));
    await until("the outside host to learn the new MAC", async () =>
      (await gw.lab.exec("outside", ["ip", "neighbor", "show", lb])).includes(gatewayMacs.net1),
    );
    t.match(await outside.ask(web), { answeredBy: "pod1" });
    t.match(await outside.ask(udp(lb, 8053)), { answeredBy: "pod1" });
    t.same(await call("dnat-del", `${both},8080,tcp,10.0.1.5,80`), success);
    t.ok(await outside.hearsNothing(web));

    const before = await state();
    for (const args of [
      [],
      ["init", "x"],
      ["eip-del", `${lb}/24`],
      ["eip-add"],
      ["eip-add", `${lb}/24`],
      ["eip-add", `${lb},${labAddresses.outside}`],
      ["eip-add", `${lb}/33,${labAddresses.outside}`],
      ["eip-add", `300.1.1.1/24,${labAddresses.outside}`],
      ["eip-add", `2001:db8::1/64,2001:db8::2`],
      ["eip-add", `${lb}/24,${labAddresses.outside};id`],
      ["eip-add", `${lb}/24,$(id)`],
      ["dnat-add", `${lb},8080,tcp,10.0.1.5,80`],
      ["dnat-add", `${lb},8080,tcp,10.0.1.5,80,fd00::1`],
      ["dnat-add", `${lb},8080,tcp,fd00::5,80,10.0.1.5`],
      ["dnat-add", `${lb},8080,icmp,10.0.1.5,80,10.0.1.5`],
      ["dnat-add", `${lb},08,tcp,10.0.1.5,80,10.0.1.5`],
      ["dnat-add", `${lb},65536,tcp,10.0.1.5,80,10.0.1.5`],
      ["dnat-add", `${lb},8080,tcp,10.0.1.5,80 --jump ACCEPT,10.0.1.5`],
      ["dnat-add", `${lb},8080,tcp,10.0.1.5,80,10.0.1.5\n`],
      ["dnat-del", `${lb},8080,tcp,10.0.1.5,80,10.0.1.5`],
    ]) {
      const { exitCode, stdout, stderr } = await call(...args);
      t.same([exitCode, stdout, stderr.split("\n").length], [1, "", 1], JSON.stringify([args, stderr]));
      t.not(stderr, "");
    }
    t.same(await state(), before, "what is malformed changes nothing");
  });
}
