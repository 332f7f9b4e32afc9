/** Dashboards, alerts and runbooks agree with each other, with docs/metrics.md and with Prometheus' own checks. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { stringify } from "yaml";
import { createProgram } from "../../../agent/cli/program.ts";
import { generatedFiles } from "../../../scripts/monitoring.ts";
import { type AlertCase, alertCases, identityLabels } from "../../support/alert-cases.ts";
import {
  type Alert,
  alerts,
  alertsFile,
  panels,
  rangeVariables,
  runbookCommands,
} from "../../support/monitoring.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const documented = new Set(
  Array.from(readFileSync("docs/metrics.md", "utf8").matchAll(/^\| `(\w+)`/gm), ([, name = ""]) => name),
);
const sections = ["Meaning", "Impact", "Diagnosis", "Cure", "Why this threshold"];
const runbooks = readdirSync("docs/runbooks").filter((name) => name !== "README.md");

const directory = temporaryDirectory("monitoring");

t.test("what scripts/monitoring.ts generates is up to date", async (t) => {
  for (const [path, text] of generatedFiles()) t.equal(readFileSync(path, "utf8"), text, path);
});

t.test("every alert is complete", async (t) => {
  t.ok(alerts.length >= 14);
  t.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length, "no name twice");
  for (const { alert, labels, annotations, keep_firing_for } of alerts) {
    t.match(alert, /^NatGateway([A-Z][a-z]+)+$/);
    t.match(labels.severity, /^(critical|warning)$/, alert);
    t.same(Object.keys(annotations).sort(), ["description", "runbook_url", "summary"], alert);
    t.equal(annotations.runbook_url, `docs/runbooks/${alert}.md`);
    t.ok(annotations.summary.length < 140 && /[^.]$/.test(annotations.summary), `${alert}: a short summary`);
    t.match(annotations.description, /\.$/, alert);
    t.ok(minutesOf(keep_firing_for) > 0, `${alert} does not come and go`);
  }
});

t.test("every alert has its runbook with every section, and every runbook its alert", async (t) => {
  t.same(runbooks.toSorted(), alerts.map(({ alert }) => `${alert}.md`).sort());
  const list = readFileSync("docs/runbooks/README.md", "utf8");
  for (const { alert, labels } of alerts) {
    const text = readFileSync(`docs/runbooks/${alert}.md`, "utf8");
    t.same(missingSections(alert, text), [], alert);
    t.match(text, /```sh\n(.*\n)*natgwctl /, `${alert}: what to look at with natgwctl`);
    t.match(list, `| [${alert}](${alert}.md) | ${labels.severity} | `);
  }
});

t.test("natgwctl takes every command that a runbook names", async (t) => {
  t.ok(runbookCommands.length > 20);
  for (const command of runbookCommands) {
    let isRun = false;
    const program = createProgram("0", async () => {
      isRun = true;
    });
    for (const one of [program, ...program.commands])
      one.exitOverride().configureOutput({ writeErr: (text) => t.comment(text) });
    await program.parseAsync(command.split(" "), { from: "user" }).catch(() => undefined);
    t.ok(isRun, `natgwctl ${command}`);
  }
});

t.test("a page without a section, or with an empty one, is found", async (t) => {
  const whole = `# A\n\n${sections.map((name) => `## ${name}\n\ntext\n`).join("\n")}`;
  t.same(missingSections("A", whole), []);
  t.same(missingSections("A", whole.replace("## Cure", "## Cures")), ["Cure"]);
  t.same(missingSections("A", whole.replace("## Impact\n\ntext\n", "## Impact\n")), ["Impact"]);
  t.same(missingSections("B", whole), ["B"]);
});

function missingSections(alert: string, text: string): readonly string[] {
  const [title = "", ...parts] = text.split(/^##? /m).slice(1);
  const filled = new Set(
    parts
      .map((part) => part.split("\n"))
      .flatMap(([name = "", ...body]) => (body.join("").trim() === "" ? [] : name)),
  );
  return [...(title.trim() === alert ? [] : [alert]), ...sections.filter((name) => !filled.has(name))];
}

t.test("alerts and panels name only metrics of docs/metrics.md", async (t) => {
  const named = new Set(
    [...alerts, ...panels].flatMap(({ expr }) => expr.match(/\bnatgw_\w+/g) ?? []).map(withoutSuffix),
  );
  t.ok(named.size > 30);
  t.same([...named].filter((name) => !documented.has(name)).sort(), []);
});

/** A histogram's series have suffixes that its row has not. */
function withoutSuffix(name: string): string {
  const [, stem = name] = /^(.*)_(?:bucket|count|sum)$/.exec(name) ?? [];
  return documented.has(stem) ? stem : name;
}

t.test("panels have a title, an explanation and queries that parse", async (t) => {
  t.ok(panels.length > 40);
  for (const { where, description } of panels) t.match(description, /\.$/, where);
  const rules = panels.map(({ expr }, index) => ({
    record: `panel${index}`,
    expr: rangeVariables(expr, "5m"),
  }));
  const file = written("panels.yaml", { groups: [{ name: "panels", rules }] });
  t.match(promtool("check", "rules", file), `SUCCESS: ${rules.length} rules found`);
});

t.test("every alert is raised and cleared by what its case describes", async (t) => {
  t.same(Object.keys(alertCases).sort(), alerts.map(({ alert }) => alert).sort());
  t.match(promtool("check", "rules", alertsFile), `SUCCESS: ${alerts.length} rules found`);
  const tests = alerts.map((alert) => ruleTest(alert, caseOf(alert)));
  const file = written("tests.yaml", {
    rule_files: [join(process.cwd(), alertsFile)],
    evaluation_interval: "1m",
    tests,
  });
  t.match(promtool("test", "rules", file), "SUCCESS");
});

t.test("a rule that never fires is found", async (t) => {
  const [alert] = alerts;
  if (alert === undefined) throw new Error("no alerts");
  const never = {
    groups: [{ name: "never", rules: [{ ...alert, expr: `${alert.expr} and on() vector(0) > 0` }] }],
  };
  const tests = [ruleTest(alert, caseOf(alert))];
  const rules = written("never.yaml", never);
  const file = written("never-tests.yaml", { rule_files: [rules], evaluation_interval: "1m", tests });
  t.throws(() => promtool("test", "rules", file), /FAILED/);
});

function caseOf({ alert }: Alert): AlertCase {
  const found = alertCases[alert];
  if (found === undefined) throw new Error(`no case for ${alert}`);
  return found;
}

/** A test for promtool: silent until `for` is over, then firing until `keep_firing_for` is over. */
function ruleTest(
  alert: Alert,
  { series, holds: [from, until], labels = {}, summary, description }: AlertCase,
) {
  const waits = minutesOf(alert.for ?? "0m");
  const keeps = minutesOf(alert.keep_firing_for);
  const at = (minute: number, isFiring: boolean, exp = firing) => ({
    eval_time: `${minute}m`,
    alertname: alert.alert,
    exp_alerts: isFiring ? [exp] : [],
  });
  const identity = alert.expr.startsWith("absent") ? {} : identityLabels;
  const firing = {
    exp_labels: { ...identity, ...labels, severity: alert.labels.severity },
    exp_annotations: {
      ...alert.annotations,
      summary,
      description: description ?? alert.annotations.description,
    },
  };
  return {
    interval: "1m",
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [at(from + waits - 1, false), at(from + waits, true), at(until + keeps + 1, false)],
    // The value changes while it fires, and annotations with it: so only that it fires.
    promql_expr_test: [
      {
        expr: `count(ALERTS{alertname="${alert.alert}", alertstate="firing"})`,
        eval_time: `${until + keeps}m`,
        exp_samples: [{ labels: "{}", value: 1 }],
      },
    ],
  };
}

function minutesOf(duration: string): number {
  const [, number, unit] = /^(\d+)([mh])$/.exec(duration) ?? [];
  if (number === undefined) throw new Error(`not minutes or hours: ${duration}`);
  return Number(number) * (unit === "h" ? 60 : 1);
}

function written(name: string, content: object): string {
  const file = join(directory, name);
  writeFileSync(file, stringify(content));
  return file;
}

function promtool(...args: readonly string[]): string {
  return execFileSync("promtool", args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
}

t.test("the links to the runbooks can lead to where the pages are published", async (t) => {
  const files = generatedFiles("https://wiki.example/natgw");
  for (const file of [alertsFile, "docs/deploy/components/alerts/prometheusrule.yaml"]) {
    const links = files.get(file)?.match(/runbook_url: .*/g) ?? [];
    t.equal(links.length, alerts.length);
    for (const link of links)
      t.match(link, /^runbook_url: https:\/\/wiki\.example\/natgw\/NatGateway\w+\.md$/);
  }
});
