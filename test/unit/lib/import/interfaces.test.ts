/** Which interfaces rules name. */
import t from "tap";
import { interfacesInDump, interfacesInTable } from "../../../../lib/import/interfaces.ts";
import { parseSave } from "../../../../lib/iptables/save.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { definitionLines } from "../../../../lib/nftables/definition-lines.ts";
import { noElements } from "../../../../lib/nftables/maps.ts";
import { device } from "../../../support/network-values.ts";

t.test("in iptables", async (t) => {
  const dump = (...lines: readonly string[]) => parseSave(`${lines.join("\n")}\n`, ipv4, []);
  const mangle = [
    "*mangle",
    ":VPC_MARK - [0:0]",
    "-A VPC_MARK -i ovn0 -j MARK --set-xmark 0x1/0x1",
    "COMMIT",
  ];
  const nat = [
    "*nat",
    ":SHARED_SNAT - [0:0]",
    "-A SHARED_SNAT -s 10.0.1.0/24 -j SNAT --to-source 203.0.113.10",
    "-A SHARED_SNAT -s 10.0.0.0/16 -o ext0 -j SNAT --to-source 203.0.113.10",
    "COMMIT",
  ];
  t.strictSame(interfacesInDump(dump(...mangle, ...nat)), { vpc: "ovn0", external: "ext0" });
  t.strictSame(interfacesInDump(dump(...mangle)), { vpc: "ovn0", external: undefined });
  t.strictSame(interfacesInDump(new Map()), { vpc: undefined, external: undefined });
});

t.test("in the table of nftables", async (t) => {
  const links = ["lo", "eth0", "net1", "ovn0", "ext0"].map(device);
  const [vpc, external] = [device("ovn0"), device("ext0")];
  const definition = definitionLines({
    vpcInterface: vpc,
    lookups: [
      { interface: external, buckets: 16 },
      { interface: external, buckets: 32 },
      { interface: device("net1"), buckets: 16 },
    ],
    backendCounts: [2, 3],
    stickyCounts: [2],
  });
  t.strictSame(interfacesInTable({ definition, elements: noElements }, links), { vpc, external });
  const none = { vpc: undefined, external: undefined };
  t.strictSame(interfacesInTable({ definition, elements: noElements }, [device("eth0")]), none);
  t.strictSame(interfacesInTable({ definition: undefined, elements: noElements }, links), none);
});
