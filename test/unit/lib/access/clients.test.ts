import t from "tap";
import { findClient, parseClients } from "../../../../lib/access/clients.ts";

const clients = parseClients(`# who may
write:uri:spiffe://cluster.local/ns/kube-system/sa/controller
read:dns:Prometheus.monitoring.svc
read:uri:urn:a,b
`);

t.test("names are compared whole, and the one with the most rights counts", async (t) => {
  const controller = { name: "uri:spiffe://cluster.local/ns/kube-system/sa/controller", role: "write" };
  const prometheus = { name: "dns:prometheus.monitoring.svc", role: "read" };
  const table: readonly (readonly [names: string | undefined, found: object | undefined])[] = [
    ["URI:spiffe://cluster.local/ns/kube-system/sa/controller", controller],
    ["DNS:prometheus.monitoring.svc", prometheus],
    ["DNS:PROMETHEUS.monitoring.svc, DNS:x", prometheus],
    ["DNS:prometheus.monitoring.svc, URI:spiffe://cluster.local/ns/kube-system/sa/controller", controller],
    ['URI:"urn:a,b"', { name: "uri:urn:a,b", role: "read" }],
    [undefined, undefined],
    ["", undefined],
    ["DNS:prometheus.monitoring.svc.evil.example", undefined],
    ["DNS:spiffe://cluster.local/ns/kube-system/sa/controller", undefined],
    ["URI:spiffe://cluster.local/ns/kube-system/sa/controller2", undefined],
    ["email:prometheus.monitoring.svc, IP Address:10.0.0.1", undefined],
    // A name with a comma within must not read as two.
    ['URI:"x, DNS:prometheus.monitoring.svc"', undefined],
    // Not understood as a whole: nothing of it counts.
    ['DNS:prometheus.monitoring.svc, URI:"open', undefined],
    ["DNS:prometheus.monitoring.svc, garbage", undefined],
  ];
  for (const [names, found] of table) t.strictSame(findClient(clients, names), found, String(names));
});

t.test("a list that is not understood is refused", async (t) => {
  const table: readonly (readonly [text: string, says: RegExp])[] = [
    ["", /names no client/],
    ["write:dns", /line 1: not three parts/],
    ["write:dns:", /line 1: not three parts/],
    ["admin:dns:a", /line 1: the role/],
    ["\nread:ip:10.0.0.1", /line 2: the kind/],
    ["read:dns:*.example", /line 1: wildcards/],
    ["read:dns:a b", /line 1: not three parts/],
    ["read:dns:a\nwrite:dns:A", /line 2: the name stands in an earlier line/],
    [Array.from({ length: 1_001 }, (_, at) => `read:dns:n${at}`).join("\n"), /more than 1000/],
  ];
  for (const [text, says] of table) t.throws(() => parseClients(text), { message: says }, text.slice(0, 60));
});
