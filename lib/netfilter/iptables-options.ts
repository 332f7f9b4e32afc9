/** Options of iptables' modules that match by something else than addresses, ports and states. */
import type { Beyond } from "./chain.ts";
import { aboveCount, aboveRate, carried, compared, havingTcpOption } from "./narrowing.ts";

export interface OtherOption {
  /** What it matches. */
  readonly share: Beyond;
  /** The number of its values. */
  readonly values: number;
  /** Present if it matches what keeps below a limit: how many packets exceed that. */
  readonly above?: Beyond;
}

/** Modules whose options are understood, or that have none. */
const knownModules = new Set(
  "tcp udp sctp icmp comment conntrack state multiport limit hashlimit connlimit recent length ttl tos dscp connbytes iprange".split(
    " ",
  ),
);
/** Options that match a part of any packets: rates, flags, sizes. */
const narrowingOptions =
  /^--(?:(?:limit|hashlimit|connlimit)(?:-.+)?|name|rcheck|update|set|seconds|hitcount|mask|rsource|rdest|length|ttl-..|tos|dscp(?:-class)?|connbytes(?:-.+)?|icmp-type|tcp-option)$/;
/** Options of them that say how something is counted, not what matches. */
const parameters =
  /^--(?:limit-burst|hashlimit-(?!above|upto).+|connlimit-(?:mask|saddr|daddr)|connbytes-.+|name|seconds|hitcount|mask|rsource|rdest)$/;
const withoutValue = new Set([
  "--rcheck",
  "--update",
  "--set",
  "--rsource",
  "--rdest",
  "--connlimit-saddr",
  "--connlimit-daddr",
]);

/** An option that is no test of a field that packets are known to have. */
export function otherOptions(word: string, value: string, isInverted: boolean): OtherOption {
  if (word === "-m") return { share: knownModules.has(value) ? "all" : "unclear", values: 1 };
  if (word === "--comment") return { share: "all", values: 1 };
  // Fragments: connection tracking reassembles them before.
  if (word === "-f") return { share: isInverted ? "all" : "part", values: 0 };
  if (!narrowingOptions.test(word)) return { share: "unclear", values: 0 };
  const values = withoutValue.has(word) ? 0 : 1;
  switch (word) {
    case "--limit":
    case "--hashlimit-upto":
      return { share: "all", values, above: aboveRate(value) };
    case "--connlimit-upto":
      return { share: "all", values, above: aboveCount(value) };
    default:
      return { share: shareOfOption(word, value, isInverted), values };
  }
}

function shareOfOption(option: string, value: string, isInverted: boolean): Beyond {
  const comparator = isInverted ? "!=" : "==";
  switch (option) {
    case "--hashlimit-above":
      return aboveRate(value);
    case "--connlimit-above":
      return aboveCount(value);
    case "--ttl-lt":
    case "--ttl-gt":
      return compared("ttl", option === "--ttl-lt" ? "<" : ">", [value]);
    case "--ttl-eq":
      return compared("ttl", comparator, [value]);
    case "--length":
      return compared("length", comparator, [value]);
    case "--tos":
    case "--dscp":
      return compared(option.slice(2), comparator, [value.replace(/\/.*/, "")]);
    case "--dscp-class":
      return compared("dscp", comparator, [value.toLowerCase()]);
    case "--connbytes":
      return carried(value, isInverted);
    case "--tcp-option":
      return havingTcpOption(value, isInverted);
    // Adds the address to a list, and matches.
    case "--set":
      return isInverted ? "part" : "all";
    case "--rcheck":
    case "--update":
      return isInverted ? "rest" : "part";
    default:
      return parameters.test(option) ? "all" : "part";
  }
}
