import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import t from "tap";
import { createLog, serializeError } from "../../../../agent/log.ts";
import { createMetrics } from "../../../../agent/status/metrics.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";

const promtool = spawnSync("promtool", ["--version"]).status === 0;

t.test("docs/metrics.md lists exactly the agent's metrics, with type and labels", async (t) => {
  const { registry } = createMetrics({ version: "1.2.3" });
  const labelNames = new Map(
    registry
      .getMetricsAsArray()
      .map((metric) => [metric.name, "labelNames" in metric ? metric.labelNames : []]),
  );
  const registered = (await registry.getMetricsAsJSON())
    .filter(({ name }) => !/^(process|nodejs)_/.test(name))
    .map(({ name, type }) => [name, String(type), [...(labelNames.get(name) as string[])].sort()]);
  const documented = readFileSync("docs/metrics.md", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map(([, name = "", type, labels = "", meaning, alert]) => {
      t.ok(meaning && alert, `${name} has a meaning and a word on alerting`);
      return [name.replaceAll("`", ""), type, (labels.match(/\w+/g) ?? []).sort()];
    });
  const byName = (a: readonly unknown[], b: readonly unknown[]) => (String(a[0]) < String(b[0]) ? -1 : 1);
  t.strictSame(documented.sort(byName), registered.sort(byName));
});

t.test("scraped values are those that were set, and two registries are independent", async (t) => {
  const metrics = createMetrics({ version: "1.2.3" });
  const other = createMetrics({ version: "1.2.3" });
  metrics.objects.set({ kind: "fip", state: "ready" }, 12);
  metrics.reconcileErrors.inc({ stage: "rules", code: "rules-refused" });
  metrics.httpRequestDuration.observe({ route: "/v1/eips/{name}", code: "200" }, 0.003);
  const text = await metrics.registry.metrics();
  t.match(text, `natgw_build_info{version="1.2.3",node="${process.versions.node}"} 1`);
  t.match(text, 'natgw_objects{kind="fip",state="ready"} 12');
  t.match(text, 'natgw_reconcile_errors_total{stage="rules",code="rules-refused"} 1');
  t.match(text, 'natgw_http_request_duration_seconds_count{route="/v1/eips/{name}",code="200"} 1');
  t.match(text, 'natgw_drift_repaired_total{subsystem="rule"} 0', "an alert sees the first repair");
  t.match(text, 'natgw_gratuitous_arp_total{result="failed"} 0');
  t.notMatch(text, /^nodejs_active_\w+_total/m);
  t.notMatch(await other.registry.metrics(), 'kind="fip"');
});

t.test("promtool reports no problem", { skip: !promtool && "no promtool here" }, async (t) => {
  const metrics = createMetrics({ version: "1.2.3" });
  metrics.degraded.set({ reason: "NotAdopted" }, 1);
  const check = spawnSync("promtool", ["check", "metrics"], {
    input: await metrics.registry.metrics(),
    encoding: "utf8",
    timeout: 20_000,
  });
  t.strictSame([check.status, check.stdout, check.stderr], [0, "", ""]);
});

function logged(level: "info" | "warn", write: (log: ReturnType<typeof createLog>) => void): unknown[] {
  const stream = new PassThrough();
  write(createLog(level, { version: "1.2.3" }, stream));
  const text = String(stream.read() ?? "");
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

t.test("a log line is one JSON object with level, time and version, and no noise", async (t) => {
  const lines = logged("info", (log) => {
    log.debug("below");
    log.info({ object: "fips/a" }, "programmed");
  });
  t.equal(lines.length, 1);
  const [line] = lines as [Record<string, unknown>];
  t.strictSame(Object.keys(line), ["level", "time", "version", "object", "msg"]);
  t.match(line, { level: "info", version: "1.2.3", object: "fips/a", msg: "programmed" });
  t.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

t.test("an error is logged with its code and its whole chain of causes", async (t) => {
  const root = Object.assign(new Error("no space"), { code: "ENOSPC" });
  const error = new GatewayError("storage-unavailable", "could not be stored", {
    cause: new Error("append", { cause: root }),
    details: { path: "/var/lib/natgw" },
  });
  t.match(
    logged("warn", (log) => log.warn({ err: error }, "failed")),
    [
      {
        level: "warn",
        err: {
          type: "GatewayError",
          code: "storage-unavailable",
          message: "could not be stored",
          details: { path: "/var/lib/natgw" },
          stack: /metrics\.test/,
          cause: { message: "append", cause: { message: "no space", code: "ENOSPC" } },
        },
      },
    ],
  );
});

t.test("non-errors, aggregate errors and cyclic causes can be logged", async (t) => {
  t.equal(serializeError("text"), "text");
  t.match(serializeError(new AggregateError([new Error("a"), "b"], "both")), {
    type: "AggregateError",
    errors: [{ message: "a" }, "b"],
  });
  const loop = new Error("loop");
  loop.cause = loop;
  const said = serializeError(loop);
  t.match(said, { type: "Error", message: "loop" });
  t.doesNotThrow(() => JSON.stringify(said), "and ends");
});
