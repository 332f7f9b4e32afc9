/** A real Prometheus scrapes a live gateway: every panel has data while there is traffic, and every alert evaluates. */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Gateway } from "../support/gateway.ts";
import { alerts, panels, rangeVariables, runbookCommands } from "../support/monitoring.ts";
import { Prometheus } from "../support/prometheus.ts";
import { run, until } from "../support/run.ts";
import { plantToken } from "../support/secrets.ts";
import { eip, eipAddress, gateway, outsideTcp, outsideUdp, tcp } from "../support/targets.ts";
import { sendUdpFlows } from "../support/udp-flows.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  // With random ports a search fails now and then long before all are in use.
  snats: [{ name: "vpc", eip: "eip-11", internalCIDR: "10.0.1.0/24", mapping: "preserve" }],
  limits: [{ name: "out", eip: "eip-10", direction: "egress", rateMbit: 100 }],
};
/** A scan of many flows pays for itself before the next one comes. */
const scanMs = 90_000;

interface Explained {
  readonly code: string;
  readonly steps: readonly { readonly stage: string; readonly detail: string }[];
}

interface Doctor {
  readonly checks: readonly { readonly check: string; readonly detail: string }[];
}

const variables = { namespace: "gateways", pod: "natgw-0" };
const documented = readFileSync("docs/metrics.md", "utf8");
/** False for what a part of the agent is still to bring. */
const isMeasured = (expr: string) =>
  (expr.match(/\bnatgw_\w+/g) ?? []).every(
    (name) =>
      documented.includes(`\`${name.replace(/_(bucket|count|sum)$/, "")}\``) ||
      documented.includes(`\`${name}\``),
  );

/** The placeholders of the pages, as they are in this lab. */
function standIns(command: string): string {
  const name = command.includes("eips") ? "eip-10" : "fip";
  return command
    .replace("POD_IP", "10.0.1.5")
    .replace("NAME", name)
    .replace(/\bEIP\b/, "eip-11");
}

t.test("Prometheus and a gateway with traffic", async (t) => {
  const gw = await Gateway.make(t, "nftables");
  const directory = join(gw.agentOptions.stateDirectory, "..");
  const tokenFile = join(gw.secretDirectory, "token");
  await writeFile(tokenFile, `${plantToken("prometheus")}\n`);
  await gw.startAgent({ NATGW_TOKEN_FILE: tokenFile }).whenReady();
  t.match(await gw.api.putSet(set, "?wait=10s"), { status: 200, body: { notReady: [] } });
  const prometheus = await Prometheus.start(gw.lab, join(directory, "prometheus"), tokenFile);
  t.teardown(() => prometheus.stop());
  await until("the first scrape", async () => (await ask("natgw_ready"))[0]?.value[1] === "1");

  const [pod1, pod2, outside] = [gw.host("pod1"), gw.host("pod2"), gw.host("outside")];
  const streams = await Promise.all([pod1.open(outsideTcp), pod2.open(outsideTcp)]);
  for (const host of [pod1, pod2]) t.match(await host.ask(outsideUdp), { answeredBy: "outside" });
  t.match(await outside.ask(tcp(eipAddress(10))), { answeredBy: "pod1" });
  await gw.lab.exec("gw", ["nft", "flush map ip natgw fip_in"]);
  await until("the repair to be seen", async () => {
    const [sample] = await ask('sum(increase(natgw_drift_repaired_total{subsystem="rule"}[1h]))');
    return Number(sample?.value[1]) > 0;
  });
  // A panel of rates needs two scrapes with traffic.
  await Promise.all(streams.map((stream) => stream.advance(200_000)));
  await gw.api.reconcile();

  await t.test("every panel has data", async (t) => {
    const measured = panels.filter(({ expr }) => isMeasured(expr));
    const expressions = measured.map(({ expr }) => rangeVariables(expr, "30s", variables));
    await until("data in every panel", async () => {
      const answers = await prometheus.query(expressions);
      return answers.every((samples) => samples.length > 0);
    }).catch(() => undefined);
    const answers = await prometheus.query(expressions);
    t.same(
      measured
        .filter((_, index) => answers[index]?.length === 0)
        .map(({ where, expr }) => `${where}: ${expr}`),
      [],
    );
  });

  await t.test("every alert evaluates, and the only one that fires tells of the repair", async (t) => {
    await until("the alert", async () => (await ask("ALERTS{alertstate='firing'}")).length > 0);
    const rules = await prometheus.rules();
    t.equal(rules.length, alerts.length);
    t.same(
      rules.filter(({ health }) => health !== "ok"),
      [],
    );
    t.same(
      rules.filter(({ state }) => state === "firing").map(({ name }) => name),
      ["NatGatewayDriftRepaired"],
    );
    const samples = await prometheus.query(alerts.map(({ expr }) => expr));
    t.equal(samples.length, alerts.length);
  });

  await t.test("promtool has nothing to say about the metrics", async (t) => {
    const body = await gw.api.metrics();
    t.equal(await run("promtool", ["check", "metrics"], { input: body }), "");
  });

  await t.test("natgwctl answers every command of the runbooks", async (t) => {
    const lines = runbookCommands.map((command) => `natgwctl ${standIns(command)}; echo "=== $? ${command}"`);
    const script = `natgwctl() { ${process.execPath} dist/cli/main.js "$@"; }\n${lines.join("\n")}`;
    const env = { NATGW_SOCKET: gw.agentOptions.socketPath };
    const printed = await gw.lab.exec("gw", ["bash", "-c", `(${script}) 2>&1`], { env, timeoutMs: 60_000 });
    const ends = Array.from(printed.matchAll(/^=== (\d+) (.*)$/gm), ([, code, command]) => ({
      code,
      command,
    }));
    t.equal(ends.length, runbookCommands.length);
    t.same(
      ends.filter(({ code = "" }) => !["0", "1"].includes(code)),
      [],
      printed.slice(-6_000),
    );
  });

  await t.test("an EIP's ports fill up: the alert comes before the first failure", async (t) => {
    await gw.lab.exec("gw", ["sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=3600"]);
    const destination = { address: "198.51.100.7", port: 4_433 };
    const [first, second] = ["10.0.1.6", "10.0.1.16"];
    await gw.lab.ip("pod2", `address add ${second}/24 dev eth0`);
    const fill = (from: string, firstPort: number, count: number) =>
      sendUdpFlows(gw.lab.namespaceOf("pod2"), { ...destination, from, firstPort, count });
    const failures = "natgw_conntrack_insert_failed_total";
    const numberAt = async (expression: string) => Number((await ask(expression))[0]?.value[1]);
    const isRaised = async (alert: string) => (await ask(`ALERTS{alertname="${alert}"}`)).length > 0;
    const failedBefore = await numberAt(failures);
    fill(first, 1_024, 53_000);
    await until("the warning", () => isRaised("NatGatewayPortsNearlyExhausted"), scanMs);
    const warnedAt = await numberAt('min(ALERTS_FOR_STATE{alertname="NatGatewayPortsNearlyExhausted"})');
    t.equal(await numberAt(failures), failedBefore, "no packet was lost until then");
    t.equal(await numberAt("sum(natgw_snat_allocation_failures_total)"), 0);
    t.ok((await numberAt('natgw_eip_port_utilization_ratio{eip="eip-11"}')) > 0.8);
    const { body: doctor } = await gw.api.call<Doctor>("GET", "/v1/doctor");
    const check = doctor.checks.find(({ check }) => check === "ports");
    t.match(check, { detail: /^eips\/eip-11 uses 53\d+ ports .* towards 198\.51\.100\.7:4433 udp$/ });

    fill(first, 54_024, 10_500);
    // Each of these finds its port taken, and has to look for another one.
    fill(second, 1_024, 3_000);
    await until("the alert", () => isRaised("NatGatewayPortsExhausted"), scanMs);
    const lost = (await numberAt(failures)) - failedBefore;
    t.ok(lost > 0, `${lost} packets found no port`);
    t.equal(
      await numberAt(`${failures} - natgw_snat_allocation_failures_total`),
      failedBefore,
      "all of them are counted",
    );
    t.ok((await numberAt('min(ALERTS_FOR_STATE{alertname="NatGatewayPortsExhausted"})')) > warnedAt);
    const { body: explained } = await gw.api.call<Explained>(
      "GET",
      `/v1/explain?from=${second}&to=${destination.address}&protocol=udp&port=${destination.port}&sourcePort=9000`,
    );
    const ports = explained.steps.find(({ stage }) => stage === "ports")?.detail;
    t.match([explained.code, ports], ["PortsExhausted", /finds a free one for \d+ % of new connections/]);
    t.comment(`lost ${lost}; ${ports}`);
  });

  await Promise.all(streams.map((stream) => stream.close()));
  await gw.expectConverged(t);

  async function ask(expression: string) {
    const [samples = []] = await prometheus.query([expression]);
    return samples;
  }
});
