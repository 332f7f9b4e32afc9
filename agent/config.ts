/** The agent's configuration from environment and flags. Read once, at start. */
import { Command, CommanderError } from "commander";
import { Value } from "typebox/value";
import { GatewayError } from "../lib/model/errors.ts";
import type { Ip } from "../lib/model/ip.ts";
import type { InterfaceName } from "../lib/model/names.ts";
import { type SettingDescription, type Settings, settings } from "./config/schema.ts";
import type { Endpoint } from "./config/values.ts";
import type { LogLevel } from "./log.ts";

export interface Config {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** The default gateway, used if the desired set gives none. */
  readonly gatewayV4: Ip | undefined;
  readonly dataplane: "iptables" | "nftables";
  readonly iptablesVariant: "auto" | "nft" | "legacy";
  readonly eipBinding: "address" | "route";
  readonly adopt: "ask" | "auto";
  readonly untranslated: "forward" | "drop";
  readonly bfdGate: "off" | "on";
  readonly stateDir: string;
  readonly socketPath: string;
  readonly listen: readonly Endpoint[];
  /** Users that may use the Unix socket. */
  readonly socketUids: ReadonlySet<number>;
  readonly metricsAccess: "open" | "read";
  readonly tokenFile: string | undefined;
  readonly tls: TlsFiles | undefined;
  readonly resyncIntervalMs: number;
  /** 0 disables probing for new EIPs. */
  readonly arpProbeMs: number;
  readonly accounting: "on" | "off";
  readonly flowLog: {
    readonly level: "off" | "errors" | "translations" | "all";
    /** One of this many flows is logged. */
    readonly sample: number;
    readonly maxBytes: number;
    readonly output: "disk" | "stdout";
    readonly stateDir: string;
  };
  /** Eips with metrics of their own. */
  readonly metricsEips: number;
  readonly logLevel: LogLevel;
  /** A path, or `off`. `undefined`: in the state directory. */
  readonly auditLog: string | undefined;
  /** In bytes. */
  readonly auditLogMax: number;
}

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string | undefined;
  /** Which client certificates may do what. `undefined`: each that the CA signed may write. */
  readonly allowFile?: string | undefined;
}

/** What the command line asks for: run, or print a text (`--help`, `--version`) and exit. */
export type Invocation =
  | { readonly kind: "run"; readonly config: Config }
  | { readonly kind: "print"; readonly text: string };

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads flags (without node and script) and environment. Flags win. Throws `bad-config` with a one-line message that
 * names the setting, its value and the allowed values.
 */
export function readInvocation(
  argv: readonly string[],
  environment: Environment,
  version: string,
): Invocation {
  const flags = readFlags(argv, version);
  if ("text" in flags) return { kind: "print", text: flags.text };
  refuseUnknown(environment);
  const values = Object.fromEntries(
    settings.map((setting) => [setting.name, decode(setting, flags.values, environment)]),
  );
  return { kind: "run", config: toConfig(values as unknown as Settings) };
}

function readFlags(
  argv: readonly string[],
  version: string,
): { readonly values: Readonly<Record<string, string>> } | { readonly text: string } {
  let text = "";
  const command = new Command("natgw-agent")
    .description("Keeps the NAT gateway of this network namespace equal to its desired set.")
    .version(version)
    .allowExcessArguments(false)
    .configureOutput({ writeOut: (part) => (text += part), writeErr: () => {}, getOutHelpWidth: () => 110 })
    .exitOverride();
  for (const { flag, description, default: preset, variable } of settings) {
    const origin = preset === undefined ? variable : `${variable}, default ${preset}`;
    command.option(`${flag} <value>`, `${description} (${origin})`);
  }
  try {
    command.parse([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { text };
    throw badConfig(
      `${error.message.replace(/^error: /, "").replaceAll(/\s+/g, " ")} (--help lists all flags)`,
    );
  }
  return { values: command.opts() };
}

/**
 * Kubernetes adds variables for each Service of the pod's namespace. A Service named `natgw` gives NATGW_SERVICE_HOST
 * and NATGW_PORT_9477_TCP_ADDR. These are not settings and not errors.
 */
const serviceLink =
  /_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)?)$/;

function refuseUnknown(environment: Environment): void {
  const known = new Set(settings.map((setting) => setting.variable));
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith("NATGW_") || known.has(variable) || serviceLink.test(variable)) continue;
    const similar = [...known].filter((name) => isSimilar(name, variable));
    const hint = similar.length === 0 ? "" : `; similar: ${similar.join(", ")}`;
    // Who puts a token into a variable instead of a file must not find it in a log.
    const shown = /TOKEN|KEY|SECRET|PASS/.test(variable) ? "" : ` (value ${quote(value ?? "")})`;
    throw badConfig(`${variable}: unknown setting${shown}${hint} (--help lists all settings)`);
  }
}

/** True if they share a word besides `NATGW`. */
function isSimilar(one: string, other: string): boolean {
  const [words, others] = [one, other].map((name) => new Set(name.split("_").slice(1)));
  return words !== undefined && others !== undefined && !words.isDisjointFrom(others);
}

function decode(
  { name, schema, variable, flag, default: preset, allowed }: SettingDescription,
  flags: Readonly<Record<string, string>>,
  environment: Environment,
): unknown {
  const text = flags[name] ?? environment[variable] ?? preset;
  // Kube-OVN sets GATEWAY_V4 even if there is no gateway: the value is then empty.
  if (text === undefined || (name === "gatewayV4" && text === "")) return undefined;
  try {
    return Value.Decode(schema, text);
  } catch (cause) {
    const source = flags[name] === undefined ? variable : flag;
    throw badConfig(`${source}: bad value ${quote(text)}; allowed: ${allowed}`, cause);
  }
}

function toConfig({
  socket,
  tlsCertFile,
  tlsKeyFile,
  tlsClientCaFile,
  tlsAllowFile,
  flowLog,
  flowLogSample,
  flowLogMax,
  flowLogOutput,
  ...rest
}: Settings): Config {
  const { resyncInterval, arpProbe, gatewayV4, tokenFile, auditLog, ...same } = rest;
  if (same.vpcInterface === same.externalInterface) {
    throw badConfig(
      `NATGW_EXTERNAL_INTERFACE: bad value ${quote(same.externalInterface)}; allowed: any name except that of NATGW_VPC_INTERFACE`,
    );
  }
  return {
    ...same,
    gatewayV4,
    tokenFile,
    auditLog,
    socketPath: socket,
    tls: toTls(tlsCertFile, tlsKeyFile, tlsClientCaFile, tlsAllowFile),
    resyncIntervalMs: resyncInterval,
    arpProbeMs: arpProbe,
    flowLog: {
      level: flowLog,
      sample: flowLogSample,
      maxBytes: flowLogMax,
      output: flowLogOutput,
      stateDir: same.stateDir,
    },
  };
}

function toTls(
  certFile: string | undefined,
  keyFile: string | undefined,
  clientCaFile: string | undefined,
  allowFile: string | undefined,
): TlsFiles | undefined {
  if (allowFile !== undefined && clientCaFile === undefined)
    throw incompleteTls("NATGW_TLS_ALLOW_FILE", allowFile, "NATGW_TLS_CLIENT_CA_FILE");
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile, clientCaFile, allowFile };
  if (certFile !== undefined) throw incompleteTls("NATGW_TLS_CERT_FILE", certFile, "NATGW_TLS_KEY_FILE");
  if (keyFile !== undefined) throw incompleteTls("NATGW_TLS_KEY_FILE", keyFile, "NATGW_TLS_CERT_FILE");
  if (clientCaFile === undefined) return undefined;
  throw incompleteTls("NATGW_TLS_CLIENT_CA_FILE", clientCaFile, "NATGW_TLS_CERT_FILE and NATGW_TLS_KEY_FILE");
}

function incompleteTls(variable: string, value: string, missing: string): GatewayError {
  return badConfig(`${variable}: set to ${quote(value)}; allowed: only together with ${missing}`);
}

function badConfig(message: string, cause?: unknown): GatewayError {
  return new GatewayError("bad-config", message, cause === undefined ? {} : { cause });
}

/** One line and short: the value may be a whole file that someone put into a variable by mistake. */
function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value);
}
