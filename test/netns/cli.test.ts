/** natgwctl with a healthy, a degraded and a dead agent. With iptables-legacy, because no event of it wakes the agent. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import t, { type Test } from "tap";
import { Gateway } from "../support/gateway.ts";
import { ctlBuilt, Natgwctl } from "../support/natgwctl.ts";
import { until } from "../support/run.ts";
import { expectNoSecret } from "../support/secrets.ts";
import { eip, gateway, tcp, webDnat } from "../support/targets.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip-a", eip: "eip-10", internalIp: "10.0.1.5" }],
  dnats: [webDnat],
  snats: [{ name: "vpc", eip: "eip-12", internalCIDR: "10.0.1.0/24" }],
  routes: [],
};

/** Commands that look, with the exit codes for a healthy agent. The first words are enough for a dead one. */
const looking = [
  "status",
  "get all",
  "get fips",
  "get fips --ready=false",
  "get eip eip-10",
  "get dnats/web",
  "describe fip fip-a",
  "describe eips eip-10",
  "plan",
  "verify",
  "repair",
  "inventory",
  "connections eip-10",
  "connections eip-10 --top",
  "export",
  "events --since 1h",
  "wait fips --for=ready",
  "version",
  "explain --in eip-10 --port 80",
  "ports",
  "ports eip-10",
  "top eips",
  "audit",
  "doctor",
] as const;

/** And those that write. They do nothing without an agent. */
const writing = [
  "apply --yes -f -",
  "diff -f -",
  "delete fip fip-a",
  "release 203.0.113.99",
  "import --yes",
  "explain --from 10.0.1.5 --to 198.51.100.7 --port 443",
  "who 203.0.113.10:40000",
  "get fips --watch",
  "events --follow",
] as const;

t.test("a reader of its output that has gone away", async (t) => {
  for (const [line, pipe, code] of [
    ["explain --help", "|", 0],
    ["--version", "|", 0],
    ["bogus", "2>&1 >/dev/null |", 2],
    ["status --socket /none", "2>&1 >/dev/null |", 3],
  ] as const) {
    const script = `"${process.execPath}" "${ctlBuilt}" ${line} ${pipe} true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await execa("bash", ["--norc", "-c", script]);
    t.same({ stdout, stderr }, { stdout: String(code), stderr: "" }, line);
  }
});

/** Processes at the same time. */
const atOnce = 4;

t.test("natgwctl", async (t) => {
  const gw = await Gateway.start(t, "iptables-legacy", { NATGW_RESYNC_INTERVAL: "10m" });
  const ctl = new Natgwctl(gw.agentOptions.socketPath);
  const codeOf = async (line: string, input = "") => (await ctl.run(line, { input })).code;

  await t.test("apply", async (t) => {
    const input = JSON.stringify(set);
    t.match(await ctl.run("apply -f -", { input }), { code: 2, stderr: /nobody can be asked/ });
    t.match(await ctl.run("diff -f -", { input }), { code: 1, stdout: /fips\/fip-a +eip: eip-10/ });
    const dry = await ctl.json<{ differences: unknown[]; changesTotal: number }>("apply -f - --dry-run", {
      input,
    });
    t.equal(dry.differences.length, 7, "with the default gateway");
    t.ok(dry.changesTotal > 5);
    t.equal((await gw.api.status()).generation.desired, 0, "nothing was stored");
    const applied = await ctl.run("apply --yes -f -", { input });
    t.match(applied, { code: 0, stdout: /6 objects written, all Ready/ });
    t.match(await ctl.run("diff -f -", { input }), { code: 0, stdout: "The same.\n" });
    const exported = (await ctl.run("export")).stdout;
    t.equal(await codeOf("diff -f -", exported), 0, "what is exported is the same");
    t.match(await ctl.run("apply --yes -f -", { input: exported }), { code: 0, stdout: /the same already/ });
    t.equal((await gw.api.status()).generation.desired, 1, "a replay");
  });

  const stream = await gw.host("outside").open(tcp("203.0.113.10"));

  await t.test("healthy: 0, and every format holds the same", async (t) => {
    const described = () =>
      ctl.json<{ readonly counters: { readonly value: readonly unknown[] } }>("describe eip eip-10");
    await until("its counters", async () => (await described()).counters.value.length > 0);
    await mapLimited(looking, atOnce, async (line) => {
      const [table, json, yaml, names] = await Promise.all([
        ctl.run(line),
        ctl.json<unknown>(line),
        ctl.yaml<unknown>(line),
        ctl.run(`${line} -o name`),
      ]);
      t.same([table.code, table.stderr], [0, ""], line);
      t.match(table.stdout, /^[\x20-\x7e\n]+$/, line);
      t.same(shapeOf(yaml), shapeOf(json), line);
      t.equal(names.code, 0);
    });
    t.equal((await ctl.run("get all -o name")).stdout.split("\n").length, 7);
    t.match(await ctl.json("connections eip-10"), {
      total: 1,
      items: [{ original: { dst: "203.0.113.10" } }],
    });
    t.match(await ctl.json("describe fip fip-a"), {
      kernel: { value: [{ text: /-j (DNAT|SNAT)/ }, {}] },
      flows: { value: { total: 1 } },
    });
  });

  await t.test("what a write breaks is shown first", async (t) => {
    const input = "kind: Fip\nname: fip-a\nspec: { eip: eip-10, internalIp: 10.0.1.6 }\n";
    const { stdout, code } = await ctl.run("apply -f - --dry-run", { input });
    t.equal(code, 0);
    t.match(stdout, /internalIp: 10\.0\.1\.5 -> 10\.0\.1\.6/);
    t.match(stdout, /Ends 1 live flow/);
    t.ok(await stream.advance(1_000, 5_000), "nothing happened");
  });

  await t.test("refusals: 4 with the reason and pointers; 2 for a wrong command line", async (t) => {
    const bad = "fips: [{ name: x, eip: eip-11, internalIp: nonsense }]";
    t.match(await ctl.run("apply --yes -f -", { input: bad }), {
      code: 4,
      stderr: /\/upsert\/fips\/0\/internalIp: must be/,
    });
    const clash = "fips: [{ name: x, eip: eip-10, internalIp: 10.0.1.9 }]";
    t.match(await ctl.run("apply --yes -f -", { input: clash }), {
      code: 4,
      stderr: /already used by fips\/fip-a/,
    });
    t.match(await ctl.run("delete eip eip-10"), { code: 4, stderr: /used by fips\/fip-a\n--cascade/ });
    t.match(await ctl.run("get fip none"), { code: 4, stderr: /fips\/none does not exist/ });
    t.match(await ctl.run("release 203.0.113.1"), { code: 4 });
    for (const line of [
      "frobnicate",
      "get",
      "get pods",
      "get fips --ready=maybe",
      "apply",
      "status -o xml",
      "wait fips --timeout 5",
      "--server ftp://x status",
    ])
      t.equal(await codeOf(line), 2, line);
  });

  await t.test("degraded: 1, problems first", async (t) => {
    // No event is left that would wake the agent.
    await gw.api.reconcile();
    const [rule = ""] = (await gw.rules("nat")).filter((line) => line.includes("EXCLUSIVE_DNAT -d"));
    await gw.restore("*nat", rule.replace("-A", "-D"), "COMMIT");

    for (const line of ["plan", "verify"]) {
      const { code, stdout } = await ctl.run(line);
      t.equal(code, 1, line);
      t.match(stdout, /\+ +rule +fips\/fip-a +-A EXCLUSIVE_DNAT -d 203\.0\.113\.10/, line);
    }
    t.equal((await gw.rules("nat")).includes(rule), false, "verify changes nothing");
    t.match(await ctl.run("repair"), { code: 0, stdout: /Made 1 change/ });
    t.ok((await gw.rules("nat")).includes(rule));
    t.equal(await codeOf("verify"), 0);

    await gw.lab.ip("gw", "address add 203.0.113.99/24 dev net1");
    t.equal(
      (await gw.api.put("fips/fip-b", { eip: "missing", internalIp: "10.0.1.6" }, "?wait=10s")).status,
      202,
    );
    const status = await ctl.run("status");
    t.equal(status.code, 1);
    t.match(status.stdout, /^DEGRADED {2}1 of 7 objects not Ready\n\nNOT READY.*\nfips\/fip-b +EipNotFound/);
    t.match(await ctl.json("status"), { health: "degraded", notReady: [{ name: "fip-b" }] });
    t.match((await ctl.run("get fips")).stdout, /^NAME.*\nfip-b +False +EipNotFound.*\nfip-a +True/);
    t.equal((await ctl.run("get all --ready=false -o name")).stdout, "fips/fip-b\n");
    t.match(await ctl.run("wait fips --timeout 200ms"), { code: 1, stdout: /fips\/fip-b: EipNotFound/ });
    t.match(await ctl.run("inventory"), { code: 1, stdout: /\n203\.0\.113\.99 +orphan/ });
    t.equal(await codeOf("release 203.0.113.99"), 0);
    t.equal(await codeOf("inventory"), 0);
    t.match(await ctl.run("delete fips/fip-b"), { code: 0, stdout: /gone from the kernel/ });
    t.equal(await codeOf("wait fip fip-b --for=deleted"), 0);
    t.equal(await codeOf("status"), 0);
    t.ok(await stream.advance(1_000, 5_000), "no flow was disturbed");
  });

  await t.test("a report of a fault", async (t) => {
    const file = join(temporaryDirectory("natgwctl"), "report.tgz");
    const report = await ctl.json<{ parts: readonly { file: string; error?: string }[] }>(
      `bugreport -o ${file}`,
    );
    const listing = await gw.lab.exec("gw", ["tar", "tzf", file]);
    for (const { file, error } of report.parts)
      t.equal(listing.includes(`/${file}\n`), error === undefined, `${file} ${error ?? ""}`);
    const rules = await gw.lab.exec("gw", ["tar", "xzOf", file, "natgw-bugreport/rules.txt"]);
    t.match(rules, /EXCLUSIVE_DNAT -d 203\.0\.113\.10/);
    t.match(await gw.lab.exec("gw", ["tar", "xzOf", file, "natgw-bugreport/log.txt"]), /agent started/);
    expectNoSecret("the report", await gw.lab.exec("gw", ["tar", "xzOf", file]));
  });

  await t.test("a file", async (t) => {
    const file = join(temporaryDirectory("natgwctl"), "objects.yaml");
    await writeFile(file, "fips:\n- name: fip-a\n  eip: eip-10\n  internalIp: 10.0.1.5\n");
    t.equal(await codeOf(`diff -f ${file}`), 0);
    t.match(await ctl.run(`diff -f ${file}.none`), { code: 2, stderr: /no such file/ });
  });

  await t.test("dead: 3, and why", async (t: Test) => {
    await stream.close();
    t.equal(await gw.agent.stop(), 0);
    await mapLimited([...looking, ...writing], atOnce, async (line) => {
      const { code, stdout, stderr } = await ctl.run(line, { input: JSON.stringify(set) });
      t.equal(code, 3, line);
      // One of two versions is known.
      t.match(stdout, line === "version" ? /^Client: / : /^$/, line);
      t.match(stderr, /Cannot reach the agent at unix:.*\n.*the agent does not run/s, line);
    });
    await t.test("a report has what can be read without it", async (t) => {
      const file = join(temporaryDirectory("natgwctl"), "report.tgz");
      const main = ["env", `NATGW_STATE_DIR=${gw.agentOptions.stateDirectory}`, process.execPath, ctlBuilt];
      const argv = [...main, "bugreport", "-o", file, "--socket", gw.agentOptions.socketPath];
      await t.rejects(gw.lab.exec("gw", argv), { message: /exit code 3[\s\S]*Cannot reach the agent/ });
      const read = (name: string) => gw.lab.exec("gw", ["tar", "xzOf", file, `natgw-bugreport/${name}`]);
      t.match(await read("rules.txt"), /EXCLUSIVE_DNAT -d 203\.0\.113\.10/);
      t.match(await read("addresses.txt"), /inet 203\.0\.113\.10\/24/);
      t.match(await read("routes.txt"), /default via 203\.0\.113\.1/);
      t.match(await read("state.journal"), /fip-a/);
      t.match(await read("audit.log"), /"PUT"/);
      const manifest = JSON.parse(await read("manifest.json"));
      t.match(manifest, { agent: null, error: /Cannot reach the agent/, readBy: /natgwctl/ });
      const errors = new Map(
        manifest.parts.map((part: { file: string; error?: string }) => [part.file, part.error]),
      );
      t.same([errors.get("rules.txt"), errors.get("log.txt")], [undefined, "only the agent knows it"]);
      expectNoSecret("the report", await gw.lab.exec("gw", ["tar", "xzOf", file]));
    });
    t.equal(await codeOf("completion bash"), 0, "needs no agent");
    t.equal(await codeOf("--help"), 0);
  });
});

/** The keys of a value, down to its leaves: values such as times differ from call to call. */
function shapeOf(value: unknown): unknown {
  // Lists of events grow between two calls.
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value !== "object" || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, shapeOf(member)]));
}

/** Calls `act` for each item, at most `limit` at the same time. */
async function mapLimited<T>(
  items: readonly T[],
  limit: number,
  act: (item: T) => Promise<void>,
): Promise<void> {
  const left = [...items];
  const work = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: limit }, work));
}
