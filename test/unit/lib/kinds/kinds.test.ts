import t from "tap";
import { recordOf, type SpecOf } from "../../../../lib/kinds/registry.ts";
import type { Kind } from "../../../../lib/model/names.ts";

function eip(name: string, host: number, more: Record<string, unknown> = {}) {
  return { name, address: `203.0.113.${host}/24`, ...more };
}
function fip(name: string, eip: string, internalIp = "10.0.1.5") {
  return { name, eip, internalIp };
}
function dnat(name: string, eip: string, externalPort = 80, more: Record<string, unknown> = {}) {
  const target = "backends" in more ? {} : { internalIp: "10.0.1.7", internalPort: 8080 };
  return { name, eip, protocol: "tcp", externalPort, ...target, ...more };
}
function snat(name: string, eip: string, internalCIDR = "10.0.1.0/24", more: Record<string, unknown> = {}) {
  return { name, eip, internalCIDR, ...more };
}
function route(name: string, destination: string, more: Record<string, unknown> = {}) {
  return { name, destination, via: "10.0.1.1", ...more };
}

t.test("semantics: what no gateway could program", (t) => {
  const cases: [Kind, Record<string, unknown>, string[]][] = [
    ["eip", eip("e", 10), []],
    ["eip", eip("e", 255), []],
    ["eip", { name: "e", address: "127.0.0.1/8" }, ["/address"]],
    ["eip", { name: "e", address: "239.1.1.1/24" }, ["/address"]],
    ["eip", { name: "e", address: "203.0.113.1/0" }, ["/address"]],
    ["fip", fip("f", "e"), []],
    ["fip", fip("f", "e", "127.9.9.9"), ["/internalIp"]],
    ["fip", fip("f", "e", "0.0.0.0"), ["/internalIp"]],
    ["fip", fip("f", "e", "255.255.255.255"), ["/internalIp"]],
    ["fip", fip("f", "e", "224.0.0.5"), ["/internalIp"]],
    ["fip", fip("f", "e", "240.0.0.1"), ["/internalIp"]],
    ["snat", snat("s", "e", "0.0.0.0/0"), []],
    ["snat", snat("s", "e", "225.0.0.0/1"), []],
    ["snat", snat("s", "e", "127.0.0.0/7"), []],
    ["snat", snat("s", "e", "127.0.0.0/8"), ["/internalCIDR"]],
    ["snat", snat("s", "e", "0.1.0.0/16"), ["/internalCIDR"]],
    ["snat", snat("s", "e", "224.0.0.0/3"), ["/internalCIDR"]],
    ["dnat", dnat("d", "e"), []],
    ["dnat", dnat("d", "e", 80, { backends: [] }), []],
    ["dnat", dnat("d", "e", 80, { internalIp: undefined, internalPort: undefined }), ["/internalIp"]],
    ["dnat", dnat("d", "e", 80, { internalPort: undefined }), ["/internalPort"]],
    ["dnat", dnat("d", "e", 80, { internalIp: undefined }), ["/internalIp"]],
    ["dnat", dnat("d", "e", 80, { internalIp: "127.0.0.1" }), ["/internalIp"]],
    ["dnat", { ...dnat("d", "e"), backends: [] }, ["/backends"]],
    [
      "dnat",
      dnat("d", "e", 80, {
        backends: [
          { ip: "10.0.0.1", port: 1 },
          { ip: "10.0.0.1", port: 2 },
          { ip: "10.0.0.1", port: 1 },
          { ip: "127.0.0.1", port: 1 },
        ],
      }),
      ["/backends/2", "/backends/3/ip"],
    ],
    ["route", route("r", "0.0.0.0/0"), []],
    ["route", route("r", "127.0.0.0/16", { via: "224.0.0.1" }), ["/destination", "/via"]],
  ];
  for (const [kind, spec, expected] of cases) {
    const pointers = recordOf(kind)
      .issues(spec as unknown as SpecOf[Kind])
      .map((issue) => issue.pointer);
    t.strictSame(pointers, expected, JSON.stringify(spec));
  }
  t.end();
});
