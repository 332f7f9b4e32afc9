/**
 * Reads and damages the rules of a gateway with common tools, independently of the agent's code. The interface is the
 * same for every dataplane, so that a test need not know which one it uses.
 */
import type { DataplaneName, Variant } from "./gateway.ts";
import type { Lab } from "./lab.ts";
import type { Call } from "./toolbox.ts";

/** The original and the translated address. */
export type Pair = readonly [from: string, to: string];

export interface RuleReading {
  /** EIP and internal IP of each FIP, inbound. Duplicates are listed twice. */
  readonly inward: readonly Pair[];
  /** Internal IP and EIP of each FIP, outbound. */
  readonly outward: readonly Pair[];
  /** EIPs with a hairpin rule. */
  readonly hairpins: readonly string[];
  /** Everything, each line with its table's name first and without counters: rules in order, elements sorted. */
  readonly lines: readonly string[];
}

/** Damages the rules like a careless operator. */
export interface Harm {
  readonly what: string;
  readonly strike: () => Promise<unknown>;
}

export interface RulesByHand {
  /** The NAT table. */
  readonly table: string;
  read(): Promise<RuleReading>;
  /** Removes the inbound rules of FIPs and the SNATs. */
  flush(): Promise<unknown>;
  /** Adds a rule with `address` outside of the agent's chains. */
  addForeign(address: string): Promise<unknown>;
  /**
   * Makes the agent read everything again. Otherwise it reads nothing if the ruleset did not change, and after foreign
   * changes only what they touched.
   */
  stir(): Promise<unknown>;
  /** Damage to the rules of a running gateway. The agent must repair each. */
  readonly harms: readonly Harm[];
  /**
   * True once an agent has begun to create its rules in a fresh namespace.
   *
   * @param calls the tools that it called so far
   * @param more how many calls, or tables, after the first
   */
  hasBegun(calls: readonly Call[], more: number): Promise<boolean>;
}

export function rulesByHand(lab: Lab, dataplane: DataplaneName): RulesByHand {
  return dataplane === "nftables" ? new NftablesByHand(lab) : new IptablesByHand(lab, dataplane);
}

/** Changes a table of the agent and restores it. */
const stirring = ["nft", "add chain ip natgw_guard stirred; delete chain ip natgw_guard stirred"];

class IptablesByHand implements RulesByHand {
  readonly table = "nat";
  readonly #lab: Lab;
  readonly #variant: Variant;

  constructor(lab: Lab, variant: Variant) {
    this.#lab = lab;
    this.#variant = variant;
  }

  async read(): Promise<RuleReading> {
    const text = await this.#lab.exec("gw", [`${this.#variant}-save`]);
    // Sorted: the kernel lists tables in order of creation.
    const lines = [...text.matchAll(/^\*(\S+)\n(.*?)^COMMIT$/gms)].toSorted(byName).flatMap(tableLines);
    return {
      inward: pairs(lines, /^nat -A EXCLUSIVE_DNAT -d (\S+)\/32 -j DNAT --to-destination (\S+)$/),
      outward: pairs(lines, /^nat -A EXCLUSIVE_SNAT -s (\S+)\/32 -j SNAT --to-source (\S+)$/),
      hairpins: pairs(lines, /^nat -A HAIRPIN_SNAT .*--ctorigdst (\S+) /).map(([eip]) => eip),
      lines,
    };
  }

  flush(): Promise<unknown> {
    return this.#restore("nat", "-F EXCLUSIVE_DNAT", "-F SHARED_SNAT");
  }

  addForeign(address: string): Promise<unknown> {
    return this.#restore(
      "nat",
      ":FOREIGN -",
      "-A POSTROUTING -j FOREIGN",
      `-A FOREIGN -d ${address} -j RETURN`,
    );
  }

  stir(): Promise<unknown> {
    return this.#variant === "iptables-legacy"
      ? this.#restore("mangle", "-A OUTPUT")
      : this.#lab.exec("gw", stirring);
  }

  get harms(): readonly Harm[] {
    const flush = (table: string, chains: readonly string[]) => () =>
      this.#restore(table, ...chains.map((chain) => `-F ${chain}`));
    // In one command: between two commands the agent would start to repair.
    const removeTable = () => this.#load("*nat\nCOMMIT\n", "--wait", "5");
    return [
      { what: "flushed chains", strike: flush("nat", ownedNatChains) },
      { what: "lost hooks", strike: flush("nat", ["PREROUTING", "POSTROUTING"]) },
      { what: "lost marks", strike: flush("mangle", ["VPC_MARK"]) },
      { what: "a nat table without a chain", strike: removeTable },
    ];
  }

  async hasBegun(calls: readonly Call[], more: number): Promise<boolean> {
    const written = calls.findIndex(({ tool }) => tool.endsWith("-restore"));
    return written >= 0 && calls.length > written + more;
  }

  #restore(table: string, ...lines: readonly string[]): Promise<unknown> {
    return this.#load([`*${table}`, ...lines, "COMMIT", ""].join("\n"), "--noflush", "--wait", "5");
  }

  #load(input: string, ...args: readonly string[]): Promise<unknown> {
    return this.#lab.exec("gw", [`${this.#variant}-restore`, ...args], { input });
  }
}

function byName([, one = ""]: readonly string[], [, other = ""]: readonly string[]): number {
  return one < other ? -1 : 1;
}

function tableLines([, table = "", text = ""]: readonly string[]): readonly string[] {
  const rules = text.split("\n").filter((line) => line.startsWith("-A "));
  return rules.map((line) => `${table} ${line}`);
}

const ownedNatChains = [
  ...["DNAT_FILTER", "EXCLUSIVE_DNAT", "SHARED_DNAT"],
  ...["SNAT_FILTER", "EXCLUSIVE_SNAT", "SHARED_SNAT", "HAIRPIN_SNAT"],
];

class NftablesByHand implements RulesByHand {
  readonly table = "natgw";
  readonly #lab: Lab;

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  async read(): Promise<RuleReading> {
    // The whole ruleset: `nft list table` fails for a missing table.
    const lines = listed(await this.#lab.exec("gw", ["nft", "--stateless", "list", "ruleset", "ip"]));
    return {
      inward: pairs(lines, /^natgw fip_in (\S+) : (\S+)$/),
      outward: pairs(lines, /^natgw fip_out (\S+) : (\S+)$/),
      hairpins: pairs(lines, /^natgw hairpin (\S+) : /).map(([eip]) => eip),
      lines,
    };
  }

  flush(): Promise<unknown> {
    return this.#load("flush map ip natgw fip_in", "flush map ip natgw snat_r");
  }

  addForeign(address: string): Promise<unknown> {
    const chain = "add chain ip foreign other { type nat hook postrouting priority 150; }";
    return this.#load("add table ip foreign", chain, `add rule ip foreign other ip daddr ${address} accept`);
  }

  stir(): Promise<unknown> {
    return this.#lab.exec("gw", stirring);
  }

  get harms(): readonly Harm[] {
    const flush = (what: string, names: readonly string[]) => () =>
      this.#load(...names.map((name) => `flush ${what} ip natgw ${name}`));
    return [
      { what: "flushed maps", strike: flush("map", ownedMaps) },
      {
        what: "lost hooks",
        strike: () => this.#load("delete chain ip natgw pre", "delete chain ip natgw post"),
      },
      { what: "lost marks", strike: flush("chain", ["vpc_mark"]) },
      { what: "a deleted table", strike: () => this.#load("delete table ip natgw") },
    ];
  }

  /** Everything is written by netlink: the gate's table first, in the same transaction as the guard's. It may be gone again. */
  async hasBegun(_calls: readonly Call[], more: number): Promise<boolean> {
    const tables = (await this.#lab.exec("gw", ["nft", "list", "tables", "ip"])).split("\n");
    return tables.includes("table ip natgw") || (more === 0 && tables.includes("table ip natgw_gate"));
  }

  #load(...lines: readonly string[]): Promise<unknown> {
    return this.#lab.exec("gw", ["nft", "--file", "-"], { input: `${lines.join("\n")}\n` });
  }
}

const ownedMaps = ["fip_in", "fip_out", "dnat_1", "dnat_n", "snat_r", "snat_p", "hairpin"];

/**
 * The output of nft, one line each: `natgw fip_in 203.0.113.10 : 10.0.1.5`, `natgw pre dnat to ip daddr map @fip_in`.
 * Elements that packets add, such as counters, are left out. Tables are sorted by name: a new one comes last.
 */
function listed(text: string): readonly string[] {
  const byElement = text.replaceAll(/elements = \{([^}]*)\}/g, (_, list: string) =>
    list
      .split(",")
      .map((element) => element.trim().replace(" counter", ""))
      .sort()
      .join("\n"),
  );
  const lines: string[] = [];
  let [table, block] = ["", ""];
  let isFilledByPackets = false;
  for (const line of byElement.split("\n").map((one) => one.trim())) {
    const [, kind, name = ""] = /^(table ip|map|set|chain) (\S+) \{/.exec(line) ?? [];
    if (line === "flags dynamic") isFilledByPackets = true;
    if (kind === "table ip") table = name;
    else if (kind !== undefined) {
      block = name;
      isFilledByPackets = false;
    } else if (isFilledByPackets && /^\d/.test(line)) continue;
    else if (line !== "" && line !== "}") lines.push(`${table} ${block} ${line}`);
  }
  const tableOf = (line: string) => line.slice(0, line.indexOf(" "));
  return lines.sort((a, b) => tableOf(a).localeCompare(tableOf(b)));
}

function pairs(lines: readonly string[], pattern: RegExp): readonly Pair[] {
  return lines.flatMap((line): readonly Pair[] => {
    const [isFound, from = "", to = ""] = pattern.exec(line) ?? [];
    return isFound === undefined ? [] : [[from, to]];
  });
}
