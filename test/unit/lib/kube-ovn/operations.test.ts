/** From the arguments of `nat-gateway.sh` to requests: every form, and what is refused. */
import t from "tap";
import { Compile } from "typebox/schema";
import { recordOf, specSchemas } from "../../../../lib/kinds/registry.ts";
import { operations, parseCall } from "../../../../lib/kube-ovn/operations.ts";
import type { Devices, ObjectRequest } from "../../../../lib/kube-ovn/request.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";

const devices = { vpcInterface: "eth0", externalInterface: "net1" } as Devices;

function requestsOf(...args: readonly string[]): readonly ObjectRequest[] {
  const request = parseCall(args, devices);
  return request.type === "objects" ? request.requests : [];
}

/** Each with one rule. */
const puts: readonly (readonly [call: string, kind: string, spec: object])[] = [
  [
    "floating-ip-add 203.0.113.10,10.0.1.5",
    "fip",
    { name: "203.0.113.10", eip: "203.0.113.10", internalIp: "10.0.1.5" },
  ],
  [
    "snat-add 203.0.113.10,10.0.1.9/16",
    "snat",
    {
      name: "203.0.113.10-10.0.0.0-16",
      eip: "203.0.113.10",
      internalCIDR: "10.0.0.0/16",
      mapping: "preserve",
    },
  ],
  [
    "snat-add 203.0.113.10,10.0.1.9,--random-fully",
    "snat",
    { name: "203.0.113.10-10.0.1.9-32", eip: "203.0.113.10", internalCIDR: "10.0.1.9/32", mapping: "random" },
  ],
  [
    "dnat-add 203.0.113.10,80,TCP,10.0.1.5,8080",
    "dnat",
    {
      name: "203.0.113.10-tcp-80",
      eip: "203.0.113.10",
      protocol: "tcp",
      externalPort: 80,
      internalIp: "10.0.1.5",
      internalPort: 8080,
    },
  ],
  ...[
    "10.0.1.5:80@10.0.1.6:81",
    "none,0,10.0.1.5:80@10.0.1.6:81",
    "none,0,10.0.1.5:80@10.0.1.6:81@10.0.1.5:80",
  ].map(
    (backends) =>
      [
        `nft-dnat-map-add 203.0.113.10,53,Udp,${backends}`,
        "dnat",
        {
          name: "203.0.113.10-udp-53",
          eip: "203.0.113.10",
          protocol: "udp",
          externalPort: 53,
          backends: [
            { ip: "10.0.1.5", port: 80 },
            { ip: "10.0.1.6", port: 81 },
          ],
        },
      ] as const,
  ),
  ...["0", "10800"].map(
    (seconds) =>
      [
        `nft-dnat-map-add 203.0.113.10,80,TCP,clientip,${seconds},10.0.1.5:80@10.0.1.6:81`,
        "dnat",
        {
          name: "203.0.113.10-tcp-80",
          eip: "203.0.113.10",
          protocol: "tcp",
          externalPort: 80,
          backends: [
            { ip: "10.0.1.5", port: 80 },
            { ip: "10.0.1.6", port: 81 },
          ],
          sessionAffinity: "ClientIP",
        },
      ] as const,
  ),
  [
    "subnet-route-add 10.2.0.0/16,10.0.1.1",
    "route",
    { name: "10.2.0.0-16", destination: "10.2.0.0/16", via: "10.0.1.1" },
  ],
  [
    "eip-ingress-qos-add 203.0.113.10,1,2.5,0.3",
    "limit",
    {
      name: "203.0.113.10-ingress",
      direction: "ingress",
      rateMbit: 2.5,
      burstMB: 0.3,
      priority: 1,
      eip: "203.0.113.10",
    },
  ],
  [
    "eip-egress-qos-add 203.0.113.10,1,2,1",
    "limit",
    {
      name: "203.0.113.10-egress",
      direction: "egress",
      rateMbit: 2,
      burstMB: 1,
      priority: 1,
      eip: "203.0.113.10",
    },
  ],
  ...["", "net1"].map(
    (device) =>
      [
        `qos-add egress,${device},3,matchall,,,,50,10`,
        "limit",
        {
          name: "dev-external-egress-all",
          direction: "egress",
          rateMbit: 50,
          burstMB: 10,
          priority: 3,
          interface: "external",
        },
      ] as const,
  ),
  [
    "qos-add ingress,,1,u32,ip,src,198.51.100.7/25,10,1.5",
    "limit",
    {
      name: "dev-vpc-ingress-src-198.51.100.0-25",
      direction: "ingress",
      rateMbit: 10,
      burstMB: 1.5,
      priority: 1,
      interface: "vpc",
      match: { src: "198.51.100.0/25" },
    },
  ],
  [
    "qos-add ingress,Net_1.5,1,u32,ip,dst,0.0.0.0/0,10,1",
    "limit",
    {
      name: "dev--4e-et-5f-1-2e-5-ingress-dst-0.0.0.0-0",
      direction: "ingress",
      rateMbit: 10,
      burstMB: 1,
      priority: 1,
      interface: "Net_1.5",
      match: { dst: "0.0.0.0/0" },
    },
  ],
];

t.test("additions", async (t) => {
  for (const [call, kind, spec] of puts) {
    const [request] = requestsOf(...call.split(" "));
    if (request?.type !== "put") throw new Error(`no put: ${call}`);
    t.match(request, { kind, spec }, call);
    t.strictSame({ ...request.spec }, spec, call);
    t.ok(Compile(specSchemas[request.kind]).Check(request.spec), `${call}: as the API takes it`);
    const record = recordOf(request.kind) as {
      issues(spec: unknown): readonly unknown[];
      canonical(spec: unknown): unknown;
    };
    t.same(record.issues(request.spec), [], call);
    t.strictSame(record.canonical(request.spec), request.spec, `${call}: canonical`);
  }
});

/** What each would remove. */
const removals: readonly (readonly [call: string, kind: string, name: string])[] = [
  ["floating-ip-del 203.0.113.10", "fip", "203.0.113.10"],
  ["floating-ip-del 203.0.113.10,10.0.1.5", "fip", "203.0.113.10"],
  ["snat-del 203.0.113.10,10.0.1.9/16", "snat", "203.0.113.10-10.0.0.0-16"],
  ["dnat-del 203.0.113.10,80,TCP", "dnat", "203.0.113.10-tcp-80"],
  ["dnat-del 203.0.113.10,80,tcp,10.0.1.5,8080", "dnat", "203.0.113.10-tcp-80"],
  ["nft-dnat-map-del 203.0.113.10,80,tcp", "dnat", "203.0.113.10-tcp-80"],
  ["subnet-route-del 10.2.0.0/16", "route", "10.2.0.0-16"],
  ["eip-ingress-qos-del 203.0.113.10", "limit", "203.0.113.10-ingress"],
  ["eip-egress-qos-del 203.0.113.10", "limit", "203.0.113.10-egress"],
  ["qos-del egress,,3,matchall,,,,50,10", "limit", "dev-external-egress-all"],
  ["qos-del egress,net1,3,u32,ip,dst,198.51.100.7/32,,", "limit", "dev-external-egress-dst-198.51.100.7-32"],
  ["qos-del egress,net1,3,u32,ip,dst,198.51.100.7/32", "limit", "dev-external-egress-dst-198.51.100.7-32"],
  ["qos-del ingress,,3,matchall,,,", "limit", "dev-vpc-ingress-all"],
  // No object can be like that, so it is absent.
  ["floating-ip-del 127.0.0.1", "fip", "127.0.0.1"],
  ["snat-del 203.0.113.10,224.0.0.0/4", "snat", "203.0.113.10-224.0.0.0-4"],
];

t.test("removals", async (t) => {
  for (const [call, kind, name] of removals)
    t.match(requestsOf(...call.split(" ")), [{ type: "remove", kind, name }], call);
});

t.test("a removal that names more than the identity means that object only", async (t) => {
  const isMeant = (call: string, stored: object): unknown => {
    const [request] = requestsOf(...call.split(" "));
    return request?.type === "remove" && request.isMeant?.(stored as never);
  };
  t.equal(isMeant("floating-ip-del 203.0.113.10", {}), undefined, "any");
  t.equal(isMeant("floating-ip-del 203.0.113.10,10.0.1.5", { internalIp: "10.0.1.5" }), true);
  t.equal(isMeant("floating-ip-del 203.0.113.10,10.0.1.5", { internalIp: "10.0.1.6" }), false);
  const one = { internalIp: "10.0.1.5", internalPort: 8080 };
  const list = { backends: [] };
  t.equal(isMeant("dnat-del 203.0.113.10,80,tcp", one), true);
  t.equal(isMeant("dnat-del 203.0.113.10,80,tcp", list), false, "a list is removed by nft-dnat-map-del");
  t.equal(isMeant("dnat-del 203.0.113.10,80,tcp,10.0.1.5,8080", one), true);
  t.equal(isMeant("dnat-del 203.0.113.10,80,tcp,10.0.1.5,8081", one), false);
  t.equal(isMeant("dnat-del 203.0.113.10,80,tcp,10.0.1.6,8080", one), false);
  t.equal(isMeant("nft-dnat-map-del 203.0.113.10,80,tcp", list), true);
  t.equal(isMeant("nft-dnat-map-del 203.0.113.10,80,tcp", one), false);
});

t.test("Eips", async (t) => {
  t.strictSame(requestsOf("eip-add", "203.0.113.10/24", "198.18.0.1/16"), [
    { type: "bind", address: "203.0.113.10/24" },
    { type: "bind", address: "198.18.0.1/16" },
  ]);
  for (const rule of ["203.0.113.10/24", "203.0.113.10/32", "203.0.113.10"])
    t.strictSame(requestsOf("eip-del", rule), [{ type: "unbind", eip: "203.0.113.10" }], rule);
});

t.test("init", async (t) => {
  t.strictSame(parseCall(["init"], devices), { type: "init", interfaces: undefined });
  t.strictSame(parseCall(["init", "vpc0,ext0"], devices), {
    type: "init",
    interfaces: { vpcInterface: "vpc0", externalInterface: "ext0" },
  });
  for (const [rule, name] of [
    ["eth0,lo", "lo"],
    ["all,net1", "all"],
    ["eth0,default", "default"],
  ] as const)
    t.throws(() => parseCall(["init", rule], devices), {
      code: "invalid",
      message: `init "${rule}": ${name} is not an interface of a gateway`,
    });
});

t.test("only QoS is allowed before init", async (t) => {
  const calls = [...puts, ...removals].map(([call]) => call.split(" "));
  t.same(
    new Set([...calls.map(([operation]) => operation), "init", "eip-add", "eip-del"]),
    new Set(operations),
  );
  for (const call of calls) {
    const request = parseCall(call, devices);
    t.equal(
      request.type === "objects" && request.isAllowedBeforeInit,
      /qos/.test(call[0] ?? ""),
      call.join(" "),
    );
  }
});

/** Each is refused with a message that names the operation. */
const malformed: readonly string[] = [
  "eip-add|",
  "eip-add|203.0.113.10",
  "eip-add|203.0.113.10/33",
  "eip-add|203.0.113.10/24/1",
  "eip-add|203.0.113.10/24,",
  "eip-add|300.1.1.1/24",
  "eip-add|203.0.113.10/24; reboot",
  "eip-add|203.0.113.10/24\n",
  "eip-add|2001:db8::1/64",
  "eip-add|203.0.113.10/24|",
  "eip-add|127.0.0.5/8",
  "eip-add|240.0.0.1/24",
  "eip-add|203.0.113.10/0",
  "eip-del|203.0.113.10/",
  "eip-del|any",
  "floating-ip-add|203.0.113.10",
  "floating-ip-add|203.0.113.10,10.0.1.5,10.0.1.6",
  "floating-ip-add|203.0.113.10, 10.0.1.5",
  "floating-ip-add|'203.0.113.10',10.0.1.5",
  "floating-ip-add|203.0.113.10,010.0.1.5",
  "floating-ip-add|203.0.113.10,127.0.0.1",
  "floating-ip-add|224.0.0.1,10.0.1.5",
  "floating-ip-del|203.0.113.10,",
  "snat-add|203.0.113.10,10.0.0.0/16,--random",
  "snat-add|203.0.113.10,10.0.0.0/16,",
  "snat-del|203.0.113.10,fd00::/8",
  "dnat-add|203.0.113.10,80,tcp,10.0.1.5",
  "dnat-add|203.0.113.10,0,tcp,10.0.1.5,80",
  "dnat-add|203.0.113.10,65536,tcp,10.0.1.5,80",
  "dnat-add|203.0.113.10,080,tcp,10.0.1.5,80",
  "dnat-add|203.0.113.10,80,icmp,10.0.1.5,80",
  "dnat-add|203.0.113.10,80,tcp,10.0.1.5,1e2",
  "dnat-add|203.0.113.10,80,tcp,0.0.0.0,80",
  "dnat-del|203.0.113.10,80,tcp,10.0.1.5",
  "nft-dnat-map-add|203.0.113.10,80,tcp,",
  "nft-dnat-map-add|203.0.113.10,80,tcp,10.0.1.5",
  "nft-dnat-map-add|203.0.113.10,80,tcp,10.0.1.5:80@",
  "nft-dnat-map-add|203.0.113.10,80,tcp,clientip,,10.0.1.5:80",
  "nft-dnat-map-add|203.0.113.10,80,tcp,clientip,1m,10.0.1.5:80",
  "nft-dnat-map-add|203.0.113.10,80,tcp,clientip,-1,10.0.1.5:80",
  "nft-dnat-map-add|203.0.113.10,80,tcp,clientip,10.0.1.5:80",
  "nft-dnat-map-add|203.0.113.10,80,tcp,other,60,10.0.1.5:80",
  `nft-dnat-map-add|203.0.113.10,80,tcp,${"10.0.1.5:80@".repeat(256)}10.0.1.6:80`,
  "nft-dnat-map-add|203.0.113.10,80,tcp,10.0.1.5:80@127.0.0.1:80",
  "snat-add|203.0.113.10,127.0.0.0/8",
  "subnet-route-add|224.0.0.0/4,10.0.1.1",
  "subnet-route-add|10.2.0.0/16,127.0.0.1",
  "subnet-route-add|10.2.0.0/16",
  "subnet-route-add|10.2.0.0/16,10.0.1.1,x",
  "subnet-route-del|10.2.0.0/16,10.0.1.1",
  "eip-ingress-qos-add|203.0.113.10,1,0,1",
  "eip-ingress-qos-add|203.0.113.10,1,-1,1",
  "eip-ingress-qos-add|203.0.113.10,1,1e3,1",
  "eip-ingress-qos-add|203.0.113.10,65536,1,1",
  "eip-ingress-qos-add|203.0.113.10,1,1,5000",
  "eip-egress-qos-del|203.0.113.10,1",
  "qos-add|both,net1,3,matchall,,,,50,10",
  "qos-add|egress,net1,3,flower,,,,50,10",
  "qos-add|egress,net1,3,u32,ip6,dst,198.51.100.7/32,50,10",
  "qos-add|egress,net1,3,u32,ip,to,198.51.100.7/32,50,10",
  "qos-add|egress,a/b,3,matchall,,,,50,10",
  "qos-add|egress,net1,3,matchall,,,",
  "qos-del|egress,net1,3,matchall",
  "qos-del|egress,net1,3,matchall,,,,50",
  "init|eth0",
  "init|eth0,eth0",
  "init|eth0,net1|more",
  "init|eth0,net1 up",
];

t.test("what is malformed is refused, and the message is short", async (t) => {
  for (const call of malformed) {
    const args = call.split("|");
    t.throws(() => parseCall(args, devices), { code: "invalid", message: new RegExp(`^${args[0]}`) }, call);
    try {
      parseCall(args, devices);
    } catch (error) {
      t.ok(error instanceof GatewayError && error.message.length < 300 && !/[\n\0]/.test(error.message));
    }
  }
  t.throws(() => parseCall([], devices), { message: "an operation is missing" });
  t.throws(() => parseCall(["eip-add"], devices), { message: "eip-add: a rule is missing" });
  t.throws(() => parseCall(["eip_add", "x"], devices), { message: 'there is no operation "eip_add"' });
  t.throws(() => parseCall(["get-iptables-version"], devices), { code: "invalid" });
});
