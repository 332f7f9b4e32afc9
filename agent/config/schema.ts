/**
 * All settings. This schema is the only source of names, defaults and types, of `--help`, and of the allowed values in
 * error messages. `docs/settings.md` lists the settings; a test compares the two.
 */
import { type StaticDecode, type TSchema, Type } from "typebox";
import { parseGatewayInterface } from "../../lib/model/names.ts";
import { logLevels } from "../log.ts";
import {
  durationBetween,
  integerBetween,
  parseAuditLog,
  parseEndpoints,
  parseHost,
  parsePath,
  parseSocketPath,
  parseUids,
  sizeBetween,
} from "./values.ts";

interface Facts {
  readonly description: string;
  /** The default as text. Absent: the setting is optional. */
  readonly default?: string;
}

const interfaceName = "an interface name of at most 15 characters, not lo, all or default";

export const SettingsSchema = Type.Object({
  vpcInterface: parsed(parseGatewayInterface, interfaceName, {
    description: "The VPC interface.",
    default: "eth0",
  }),
  externalInterface: parsed(parseGatewayInterface, interfaceName, {
    description: "The external interface, which holds the EIPs.",
    default: "net1",
  }),
  gatewayV4: Type.Optional(
    parsed(parseHost, "the IPv4 address of a host, or empty", {
      description:
        "The default route's next hop if the desired set gives none, used while the external interface has an address.",
    }),
  ),
  dataplane: oneOf(["iptables", "nftables"], {
    description: "The dataplane that holds the NAT rules.",
    default: "iptables",
  }),
  iptablesVariant: oneOf(["auto", "nft", "legacy"], {
    description:
      "The iptables variant, nft or legacy; `auto` takes the one in which the agent's chains hold rules, else nft if it works, else legacy.",
    default: "auto",
  }),
  eipBinding: oneOf(["address", "route"], {
    description:
      "How an EIP is bound: as an address on the external interface, or as a local route of its own.",
    default: "address",
  }),
  adopt: oneOf(["ask", "auto"], {
    description:
      "What an agent whose state was never written or was lost does with NAT that the kernel holds: `ask` changes nothing until a set is accepted, `auto` takes it over as the desired set.",
    default: "ask",
  }),
  untranslated: oneOf(["forward", "drop"], {
    description:
      "What happens to packets from the VPC to the outside that no object translates, once the gateway is verified; `drop` never lets an internal IP out.",
    default: "forward",
  }),
  bfdGate: oneOf(["off", "on"], {
    description:
      "Whether BFD (UDP 3784 and 4784) on the VPC interface is dropped until the gateway translates for an object.",
    default: "off",
  }),
  stateDir: parsed(parsePath, "a path", {
    description: "The directory of the stored state.",
    default: "/var/lib/natgw",
  }),
  socket: parsed(parseSocketPath, "a path of at most 107 bytes", {
    description: "The Unix socket of the API, mode 0600.",
    default: "/run/natgw/agent.sock",
  }),
  socketUids: parsed(parseUids, "up to 64 numbers of users, comma-separated", {
    description:
      "The users that may use the Unix socket; with others than root and the agent's own it has mode 0666.",
    default: "0",
  }),
  listen: parsed(
    parseEndpoints,
    "host:port, comma-separated, none twice; hosts are addresses, no wildcards",
    {
      description: "The TCP addresses of the API; an address on the external interface is refused.",
      default: "127.0.0.1:9477",
    },
  ),
  tokenFile: Type.Optional(
    parsed(parsePath, "a path", {
      description:
        "A file with the bearer tokens of the API: a line `name:role:SHA-256` for each, or one line with nothing but a token.",
    }),
  ),
  tlsCertFile: Type.Optional(
    parsed(parsePath, "a path", {
      description: "A PEM file with the certificate chain of the API. Needs the key.",
    }),
  ),
  tlsKeyFile: Type.Optional(
    parsed(parsePath, "a path", {
      description: "A PEM file with the key of the certificate. Needs the certificate.",
    }),
  ),
  tlsClientCaFile: Type.Optional(
    parsed(parsePath, "a path", {
      description: "A PEM file with the CAs of client certificates. Needs the certificate.",
    }),
  ),
  tlsAllowFile: Type.Optional(
    parsed(parsePath, "a path", {
      description:
        "A file with the client certificates that are admitted: a line `role:uri:NAME` or `role:dns:NAME` for each. Needs the CAs.",
    }),
  ),
  metricsAccess: oneOf(["read", "open"], {
    description:
      "Whether `/metrics` needs the credentials of a reader or is open to whoever reaches the listener.",
    default: "read",
  }),
  auditLog: Type.Optional(
    parsed(parseAuditLog, "a path, or off", {
      description:
        "The file of the audit log, which says who wrote what; if not set, `audit.log` in the directory of the stored state.",
    }),
  ),
  auditLogMax: parsed(sizeBetween(64 * 1024, 1024 ** 3), "a size from 64KiB to 1GiB", {
    description: "The size of the audit log: of the current file and the one before it together.",
    default: "16MiB",
  }),
  resyncInterval: parsed(durationBetween(1000, 86_400_000), "a duration from 1s to 24h", {
    description: "How often a full pass runs without an event.",
    default: "30s",
  }),
  arpProbe: parsed(durationBetween(0, 10_000), "a duration up to 10s; 0 is off", {
    description:
      "How long the agent probes by ARP for another holder before it adds an EIP; 0 also disables conflict detection for EIPs already held, and a start announces only the EIPs that it adds.",
    default: "200ms",
  }),
  accounting: oneOf(["on", "off"], {
    description: "Whether the kernel counts the packets and bytes of each EIP, for the metrics.",
    default: "on",
  }),
  metricsEips: parsed(integerBetween(0, 10_000), "a number up to 10000", {
    description: "How many Eips have metrics of their own; the others are counted together as `other`.",
    default: "1000",
  }),
  flowLog: oneOf(["off", "errors", "translations", "all"], {
    description:
      "The NAT flow log: `errors` logs ports that run out, `translations` also each translated flow when it ends, `all` also when it begins.",
    default: "off",
  }),
  flowLogSample: parsed(integerBetween(1, 1_000_000), "a number from 1 to 1000000", {
    description: "The flow log has one of this many flows.",
    default: "1",
  }),
  flowLogMax: parsed(sizeBetween(1 << 20, 2 ** 40), "a size from 1MiB to 1024GiB", {
    description: "How much disk the flow log takes; the oldest records go first.",
    default: "256MiB",
  }),
  flowLogOutput: oneOf(["disk", "stdout"], {
    description: "Where the flow log goes: into the state directory, or to stdout.",
    default: "disk",
  }),
  logLevel: oneOf(logLevels, { description: "The lowest level that is logged.", default: "info" }),
});

/** The parsed settings, by name. */
export type Settings = StaticDecode<typeof SettingsSchema>;
export type SettingName = keyof typeof SettingsSchema.properties;

export interface SettingDescription {
  readonly name: SettingName;
  readonly schema: TSchema;
  /** Environment variable: `NATGW_STATE_DIR`. */
  readonly variable: string;
  /** Flag: `--state-dir`. */
  readonly flag: string;
  readonly default: string | undefined;
  readonly allowed: string;
  readonly description: string;
}

/** What every schema in this file has besides its type. */
type SettingSchema = TSchema & Facts & { readonly allowed: string };

/** Every setting with its variable and flag, in the order of the schema. */
export const settings: readonly SettingDescription[] = Object.entries(
  SettingsSchema.properties as unknown as Readonly<Record<SettingName, SettingSchema>>,
).map(([name, schema]) => describe(name as SettingName, schema));

function describe(name: SettingName, schema: SettingSchema): SettingDescription {
  const words = name.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
  const variable = words.join("_").toUpperCase();
  return {
    name,
    schema,
    // Kube-OVN's controller sets GATEWAY_V4 in every gateway pod.
    variable: name === "gatewayV4" ? variable : `NATGW_${variable}`,
    flag: `--${words.join("-")}`,
    default: schema.default,
    allowed: schema.allowed,
    description: schema.description,
  };
}

function parsed<T>(parse: (text: string) => T | undefined, allowed: string, facts: Facts) {
  return Type.Decode(Type.String({ ...facts, allowed }), (text: string): T => {
    const value = parse(text);
    if (value === undefined) throw new TypeError(`not ${allowed}`);
    return value;
  });
}

function oneOf<const V extends string>(values: readonly V[], facts: Facts) {
  return Type.Enum([...values], { ...facts, allowed: values.join(", ") });
}
