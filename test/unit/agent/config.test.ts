import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import t from "tap";
import { type SettingName, settings } from "../../../agent/config/schema.ts";
import { parseDurationMs, parseEndpoints } from "../../../agent/config/values.ts";
import { type Config, readInvocation } from "../../../agent/config.ts";
import { GatewayError } from "../../../lib/model/errors.ts";

const version = "9.8.7";

function configOf(argv: readonly string[], environment: Record<string, string> = {}): Config {
  const invocation = readInvocation(argv, environment, version);
  if (invocation.kind !== "run") throw new Error(`printed: ${invocation.text}`);
  return invocation.config;
}

function refusalOf(argv: readonly string[], environment: Record<string, string> = {}): string {
  try {
    configOf(argv, environment);
  } catch (error) {
    if (error instanceof GatewayError && error.code === "bad-config") return error.message;
    throw error;
  }
  throw new Error("was accepted");
}

t.test("without flags and environment everything has its default", async (t) => {
  t.strictSame(configOf([]), {
    vpcInterface: "eth0",
    externalInterface: "net1",
    gatewayV4: undefined,
    dataplane: "iptables",
    iptablesVariant: "auto",
    eipBinding: "address",
    adopt: "ask",
    untranslated: "forward",
    bfdGate: "off",
    stateDir: "/var/lib/natgw",
    socketPath: "/run/natgw/agent.sock",
    listen: [{ host: "127.0.0.1", port: 9477 }],
    socketUids: new Set([0]),
    tokenFile: undefined,
    metricsAccess: "read",
    tls: undefined,
    resyncIntervalMs: 30_000,
    arpProbeMs: 200,
    accounting: "on",
    metricsEips: 1000,
    auditLog: undefined,
    auditLogMax: 16 * 1024 * 1024,
    flowLog: { level: "off", sample: 1, maxBytes: 256 << 20, output: "disk", stateDir: "/var/lib/natgw" },
    logLevel: "info",
  });
});

const flowLogDefaults = configOf([]).flowLog;

t.test("every setting is taken from its variable and from its flag, and the flag wins", async (t) => {
  const samples: Record<SettingName, readonly [text: string, key: keyof Config, value: unknown]> = {
    vpcInterface: ["ovn0", "vpcInterface", "ovn0"],
    externalInterface: ["ext.100", "externalInterface", "ext.100"],
    gatewayV4: ["203.0.113.1", "gatewayV4", "203.0.113.1"],
    dataplane: ["nftables", "dataplane", "nftables"],
    iptablesVariant: ["legacy", "iptablesVariant", "legacy"],
    eipBinding: ["route", "eipBinding", "route"],
    adopt: ["auto", "adopt", "auto"],
    untranslated: ["drop", "untranslated", "drop"],
    bfdGate: ["on", "bfdGate", "on"],
    stateDir: ["state", "stateDir", resolve("state")],
    socketUids: ["0, 1000", "socketUids", new Set([0, 1000])],
    metricsAccess: ["open", "metricsAccess", "open"],
    socket: ["/tmp/a.sock", "socketPath", "/tmp/a.sock"],
    listen: [
      "[::1]:1, 10.0.0.1:2",
      "listen",
      [
        { host: "::1", port: 1 },
        { host: "10.0.0.1", port: 2 },
      ],
    ],
    tokenFile: ["/t", "tokenFile", "/t"],
    tlsCertFile: [
      "/c",
      "tls",
      { certFile: "/c", keyFile: "/k", clientCaFile: undefined, allowFile: undefined },
    ],
    tlsKeyFile: [
      "/k",
      "tls",
      { certFile: "/c", keyFile: "/k", clientCaFile: undefined, allowFile: undefined },
    ],
    tlsClientCaFile: [
      "/ca",
      "tls",
      { certFile: "/c", keyFile: "/k", clientCaFile: "/ca", allowFile: undefined },
    ],
    tlsAllowFile: [
      "/list",
      "tls",
      { certFile: "/c", keyFile: "/k", clientCaFile: "/context-ca", allowFile: "/list" },
    ],
    resyncInterval: ["5m", "resyncIntervalMs", 300_000],
    arpProbe: ["0", "arpProbeMs", 0],
    accounting: ["off", "accounting", "off"],
    auditLog: ["log", "auditLog", resolve("log")],
    auditLogMax: ["1GiB", "auditLogMax", 1024 ** 3],
    metricsEips: ["5", "metricsEips", 5],
    flowLog: ["all", "flowLog", { ...flowLogDefaults, level: "all" }],
    flowLogSample: ["10", "flowLog", { ...flowLogDefaults, sample: 10 }],
    flowLogMax: ["1GiB", "flowLog", { ...flowLogDefaults, maxBytes: 1 << 30 }],
    flowLogOutput: ["stdout", "flowLog", { ...flowLogDefaults, output: "stdout" }],
    logLevel: ["debug", "logLevel", "debug"],
  };
  const tls = { NATGW_TLS_CERT_FILE: "/c", NATGW_TLS_KEY_FILE: "/k" };
  for (const { name, variable, flag } of settings) {
    const [text, key, value] = samples[name];
    const ca = name === "tlsAllowFile" ? { NATGW_TLS_CLIENT_CA_FILE: "/context-ca" } : {};
    const context = name.startsWith("tls") ? { ...tls, ...ca } : {};
    t.strictSame(configOf([], { ...context, [variable]: text })[key], value, variable);
    t.strictSame(configOf([flag, text], context)[key], value, flag);
    t.strictSame(configOf([`${flag}=${text}`], { ...context, [variable]: "\0" })[key], value, `${flag} wins`);
  }
});

t.test("an error is one line with the setting, the value and the allowed values", async (t) => {
  const table: readonly [argv: string[], environment: Record<string, string>, ...says: string[]][] = [
    [["--dataplane", "ipvs"], {}, "--dataplane", '"ipvs"', "iptables, nftables"],
    [[], { NATGW_DATAPLANE: "ipvs" }, "NATGW_DATAPLANE", '"ipvs"', "iptables, nftables"],
    [[], { NATGW_LOG_LEVEL: "INFO" }, "NATGW_LOG_LEVEL", '"INFO"', "debug"],
    [[], { NATGW_VPC_INTERFACE: "eth0;reboot" }, "NATGW_VPC_INTERFACE", '"eth0;reboot"', "15"],
    [[], { NATGW_VPC_INTERFACE: "lo" }, "NATGW_VPC_INTERFACE", '"lo"', "not lo, all or default"],
    [["--external-interface", "all"], {}, "--external-interface", '"all"', "not lo, all or default"],
    [[], { NATGW_VPC_INTERFACE: "net1" }, "NATGW_EXTERNAL_INTERFACE", '"net1"', "any name except"],
    [[], { GATEWAY_V4: "10.0.0.1,10.0.0.2" }, "GATEWAY_V4", '"10.0.0.1,10.0.0.2"', "IPv4"],
    [["--vpc-interface", ""], {}, "--vpc-interface", '""'],
    ...["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"].map(
      (address) =>
        [[], { GATEWAY_V4: address }, "GATEWAY_V4", `"${address}"`, "of a host"] as [
          string[],
          Record<string, string>,
          ...string[],
        ],
    ),
    [[], { NATGW_STATE_DIR: "" }, "NATGW_STATE_DIR", '""', "path"],
    [[], { NATGW_SOCKET: `/${"s".repeat(107)}` }, "NATGW_SOCKET", "107 bytes"],
    [[], { NATGW_RESYNC_INTERVAL: "0" }, "NATGW_RESYNC_INTERVAL", '"0"', "1s to 24h"],
    [[], { NATGW_RESYNC_INTERVAL: "30" }, "NATGW_RESYNC_INTERVAL", '"30"', "1s to 24h"],
    [[], { NATGW_METRICS_EIPS: "10001" }, "NATGW_METRICS_EIPS", '"10001"', "10000"],
    [[], { NATGW_METRICS_EIPS: "1e3" }, "NATGW_METRICS_EIPS", '"1e3"', "10000"],
    [[], { NATGW_AUDIT_LOG: "" }, "NATGW_AUDIT_LOG", '""', "off"],
    [[], { NATGW_AUDIT_LOG_MAX: "16MB" }, "NATGW_AUDIT_LOG_MAX", '"16MB"', "64KiB to 1GiB"],
    [[], { NATGW_AUDIT_LOG_MAX: "2GiB" }, "NATGW_AUDIT_LOG_MAX", '"2GiB"', "64KiB to 1GiB"],
    [[], { NATGW_ARP_PROBE: "11s" }, "NATGW_ARP_PROBE", '"11s"', "10s"],
    [[], { NATGW_FLOW_LOG: "on" }, "NATGW_FLOW_LOG:", '"on"', "off, errors, translations, all"],
    [[], { NATGW_FLOW_LOG_SAMPLE: "0" }, "NATGW_FLOW_LOG_SAMPLE", '"0"', "1 to 1000000"],
    [[], { NATGW_FLOW_LOG_MAX: "256" }, "NATGW_FLOW_LOG_MAX", '"256"', "1MiB to 1024GiB"],
    [[], { NATGW_FLOW_LOG_MAX: "1KiB" }, "NATGW_FLOW_LOG_MAX", '"1KiB"', "1MiB to 1024GiB"],
    [[], { NATGW_LISTEN: "0.0.0.0:9477" }, "NATGW_LISTEN", '"0.0.0.0:9477"', "wildcard"],
    [[], { NATGW_TLS_CERT_FILE: "/c" }, "NATGW_TLS_CERT_FILE", '"/c"', "NATGW_TLS_KEY_FILE"],
    [[], { NATGW_TLS_KEY_FILE: "/k" }, "NATGW_TLS_KEY_FILE", '"/k"', "NATGW_TLS_CERT_FILE"],
    [[], { NATGW_TLS_CLIENT_CA_FILE: "/a" }, "NATGW_TLS_CLIENT_CA_FILE", '"/a"', "NATGW_TLS_CERT_FILE"],
    [[], { NATGW_TLS_ALLOW_FILE: "/l" }, "NATGW_TLS_ALLOW_FILE", '"/l"', "NATGW_TLS_CLIENT_CA_FILE"],
    [[], { NATGW_SOCKET_UIDS: "root" }, "NATGW_SOCKET_UIDS", '"root"', "numbers of users"],
    [[], { NATGW_SOCKET_UIDS: "4294967295" }, "NATGW_SOCKET_UIDS", "numbers of users"],
    [[], { NATGW_METRICS_ACCESS: "write" }, "NATGW_METRICS_ACCESS", '"write"', "read, open"],
    [[], { NATGW_RESYNC: "30s" }, "NATGW_RESYNC:", '"30s"', "NATGW_RESYNC_INTERVAL"],
    [[], { NATGW_TOKEN: "a\nb".repeat(99) }, "NATGW_TOKEN:", "unknown", "NATGW_TOKEN_FILE"],
    [[], { NATGW_NOSUCH: "1" }, "NATGW_NOSUCH:", '"1"', "--help"],
    [["--sate-dir", "x"], {}, "--sate-dir", "--state-dir"],
    [["--dataplane"], {}, "--dataplane", "missing"],
    [["serve"], {}, "serve"],
  ];
  for (const [argv, environment, ...says] of table) {
    const message = refusalOf(argv, environment);
    t.notMatch(message, "\n", message);
    t.ok(message.length < 500, "and it is short");
    for (const part of says) t.ok(message.includes(part), `${part} in: ${message}`);
  }
});

t.test("a token in a variable that is no setting is not printed", async (t) => {
  for (const name of ["NATGW_TOKEN", "NATGW_API_TOKEN", "NATGW_TLS_KEY", "NATGW_SECRET"])
    t.notMatch(refusalOf([], { [name]: "s3cret" }), /s3cret/, name);
});

t.test("variables that Kubernetes injects are not errors", async (t) => {
  const config = configOf([], {
    PATH: "/bin",
    GATEWAY_V4: "",
    GATEWAY_V6: "",
    NATGW_SERVICE_HOST: "10.96.0.9",
    NATGW_SERVICE_PORT: "9477",
    NATGW_SERVICE_PORT_HTTP: "9477",
    NATGW_METRICS_PORT: "tcp://10.96.0.9:9477",
    NATGW_PORT_9477_TCP: "tcp://10.96.0.9:9477",
    NATGW_PORT_9477_TCP_ADDR: "10.96.0.9",
  });
  t.equal(config.gatewayV4, undefined);
  const none = configOf(["--gateway-v4", ""], { GATEWAY_V4: "203.0.113.1" });
  t.equal(none.gatewayV4, undefined, "an empty flag takes the variable's value away");
});

t.test("--help names every flag and its variable, --version the version", async (t) => {
  const help = readInvocation(["--help"], { NATGW_X: "bad" }, version);
  t.equal(help.kind, "print");
  const text = help.kind === "print" ? help.text : "";
  for (const { flag, variable } of settings) {
    t.ok(text.includes(`${flag} <value>`), flag);
    t.ok(text.includes(variable), variable);
  }
  t.strictSame(readInvocation(["--version"], {}, version), { kind: "print", text: `${version}\n` });
});

t.test("durations", async (t) => {
  const table: Record<string, number | undefined> = {
    "0": 0,
    "0s": 0,
    "200ms": 200,
    "30s": 30_000,
    "2m": 120_000,
    "1h": 3_600_000,
    "30": undefined,
    "-1s": undefined,
    "1.5s": undefined,
    " 1s": undefined,
    "1s\n": undefined,
    "1d": undefined,
    "": undefined,
  };
  for (const [text, valueMs] of Object.entries(table)) t.equal(parseDurationMs(text), valueMs, text);
});

t.test("listeners", async (t) => {
  const good: Record<string, readonly [string, number][]> = {
    "127.0.0.1:9477": [["127.0.0.1", 9477]],
    "localhost:0": [["127.0.0.1", 0]],
    "LocalHost:1": [["127.0.0.1", 1]],
    "127.0.0.1:0,127.0.0.1:0": [
      ["127.0.0.1", 0],
      ["127.0.0.1", 0],
    ],
    "[fe80::1%eth0]:80": [["fe80::1%eth0", 80]],
    "10.0.0.1:1,10.0.0.2:2": [
      ["10.0.0.1", 1],
      ["10.0.0.2", 2],
    ],
  };
  for (const [text, endpoints] of Object.entries(good)) {
    t.strictSame(
      parseEndpoints(text),
      endpoints.map(([host, port]) => ({ host, port })),
      text,
    );
  }
  const bad = [
    "",
    ":9477",
    "*:9477",
    "0.0.0.0:1",
    "[::]:1",
    "[0:0::0]:1",
    "[::ffff:0.0.0.0]:1",
    "[::ffff:0:0]:1",
  ];
  const worse = [
    "::1:80",
    "10.0.0.1",
    "10.0.0.1:",
    "10.0.0.1:65536",
    "example.org:80",
    "10.0.0.1:1,",
    "10.0.0.1:1, 10.0.0.1:1",
    "127.0.0.1:1,localhost:1",
    "[10.0.0.1]:1",
  ];
  for (const text of [...bad, ...worse]) t.equal(parseEndpoints(text), undefined, text);
});

t.test("docs/settings.md lists exactly the settings", async (t) => {
  const rows = readFileSync("docs/settings.md", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").map((cell) => cell.trim()));
  t.strictSame(
    rows.map((cells) => cells.slice(1, -1)),
    settings.map((setting) => [
      `\`${setting.variable}\``,
      `\`${setting.flag}\``,
      setting.default === undefined ? "–" : `\`${setting.default}\``,
      setting.allowed,
      setting.description,
    ]),
  );
});
