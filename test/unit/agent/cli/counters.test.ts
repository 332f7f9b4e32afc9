import t from "tap";
import { countersOf } from "../../../../agent/cli/counters.ts";

t.test("the counters of one EIP", async (t) => {
  const metrics = [
    "# TYPE natgw_eip_receive_bytes_total counter",
    'natgw_eip_info{eip="a",address="203.0.113.10"} 1',
    'natgw_eip_receive_bytes_total{eip="a"} 1234',
    'natgw_eip_receive_bytes_total{eip="ab"} 5',
    'natgw_eip_connections{eip="a",protocol="tcp",state="established"} 2',
    'natgw_snats_total{eip="a"} 5',
  ].join("\n");
  t.same(countersOf(metrics, "a"), [
    { name: "receive_bytes_total", labels: "", value: 1234 },
    { name: "connections", labels: 'protocol="tcp" state="established"', value: 2 },
  ]);
  t.same(countersOf("", "a"), []);
});
