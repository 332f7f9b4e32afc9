/**
 * The kernel of one namespace in memory, behind the interfaces that the agent uses: the iptables tools and nft as
 * commands and nfnetlink as a connection, so that the real planners, parsers and drivers are tested, and the drivers of
 * network and conntrack. It is transactional, and refuses what the kernel refuses.
 */

import type { ConntrackDriver, DriverFailure, NetworkDriver } from "../../../agent/kernel/drivers.ts";
import type { BackendsDriver } from "../../../agent/kernel/nftables/backends.ts";
import type { FilterTablesDriver } from "../../../agent/kernel/nftables/filter-tables.ts";
import type { Outcome } from "../../../agent/kernel/nftables/transaction.ts";
import type { CommandOptions, CommandOutput } from "../../../agent/kernel/run.ts";
import { type Flow, viewOf } from "../../../lib/conntrack/flow.ts";
import type { ChainAdditions } from "../../../lib/iptables/additions.ts";
import type { ChainRemovals } from "../../../lib/iptables/removals.ts";
import { appendRule, restoreInput } from "../../../lib/iptables/restore.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import type { RuleDump } from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import type { ObservedPaths } from "../../../lib/model/observed.ts";
import { allFilterTables, filterTableNames } from "../../../lib/nftables/filter-table-names.ts";
import type { FilterTablesTransaction } from "../../../lib/nftables/filter-tables.ts";
import { guardSetNames } from "../../../lib/nftables/sets.ts";
import { messageType } from "../../../lib/nftables/wire.ts";
import type { AddressStep } from "../../../lib/plan/address-plan.ts";
import type { RouteStep } from "../../../lib/plan/network/routes.ts";
import { ModelBackends } from "./backends-table.ts";
import { FilterTables } from "./filter-tables.ts";
import type { Life } from "./life.ts";
import { NatTable } from "./nat-table.ts";
import { Network } from "./network.ts";
import type { NftSide } from "./nft-netlink.ts";
import { type ModelDataplane, Tables } from "./tables.ts";
import { Tracer } from "./tracer.ts";
import { hosts, interfaces, ip, routeByHand } from "./universe.ts";

/** The fault of the next call of its kind. Reads fail by wrong output or an error, writes by refusal. */
export type Fault =
  | "restore-dies"
  | "save-fails"
  | "save-cut"
  | "nft-read-cut"
  | "nft-write-fails"
  | "network-unreadable"
  | "address-refused"
  | "flows-unreadable"
  | "flows-stay";

/** The part of the kernel that the agent writes to. */
export type WriteTarget = "rules" | "sysctl" | "address" | "route" | "flow";

/** As in the lab: the gateway's route to the VPC's other networks. */
const vpcRoute = routeByHand("10.0.0.0/8", hosts.vpcRouter, interfaces.vpc);

/** The model has no policy routing. */
const plainPaths: ObservedPaths = { rules: [], tables: new Map() };

export class ModelKernel {
  readonly dataplane: ModelDataplane;
  /** The table of the dataplane nftables. */
  readonly natTable: NatTable | undefined;
  readonly tables: Tables;
  /** True if guard and gate are tables of nftables, false if they are chains of filter. */
  readonly hasFilterTables: boolean;
  readonly filterTables = new FilterTables();
  /** Empty if there is no nft, and with the dataplane nftables. */
  readonly backends = new ModelBackends();
  /** Tables of a dataplane that is not in use, by name. */
  readonly leftovers = new Set<string>();
  readonly network = new Network([interfaces.vpc, interfaces.external]);
  readonly tracer: Tracer;
  readonly faults = new Set<Fault>();
  /** Where `save-cut` cuts, as a share of the dump. */
  cutAt = 0.5;
  /** Number of writes that changed anything, by any process. */
  writes = 0;
  /** Called before each write of the agent, with a text for it. */
  onWrite: (what: string, target: WriteTarget) => void = () => {};
  /** Called before each flow that the agent deletes. */
  onFlowRemoved: (flow: Flow) => void = () => {};
  /** Called for each reading, with the name of what was read, and whether the output was wrong. */
  onRead: (what: string, isLie: boolean) => void = () => {};

  #wasCut = false;

  constructor(dataplane: ModelDataplane) {
    this.dataplane = dataplane;
    this.natTable = dataplane === "nftables" ? new NatTable() : undefined;
    this.tables = new Tables(dataplane.startsWith("legacy") ? "legacy" : "nft");
    this.hasFilterTables = dataplane !== "legacy without nft";
    this.tracer = new Tracer(this.tables, this.filterTables, this.backends, this.network, this.natTable);
    this.network.addAddress({ interface: interfaces.vpc, address: ip(hosts.vpc), prefixLength: 24 });
    this.network.addAddress({
      interface: interfaces.external,
      address: ip(hosts.external),
      prefixLength: 24,
    });
    this.network.addRoute(vpcRoute);
  }

  /** The value behind the dataplane's stamp. Every write of rules changes it. */
  get stamp(): number | string {
    return this.tables.variant === "legacy" ? this.tables.save() : this.generation;
  }

  /** The generation of nf_tables. */
  get generation(): number {
    const { tables, filterTables, backends, natTable } = this;
    return tables.commits + filterTables.commits + backends.commits + (natTable?.commits ?? 0) + 1;
  }

  /** True if the owned chains translate for any object. */
  holdsRules(): boolean {
    return this.objectRules().length > 0;
  }

  /** The rules of objects, as text. */
  objectRules(): readonly string[] {
    if (this.natTable !== undefined) return this.natTable.texts();
    const chains = ["EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT", "SHARED_DNAT", "SHARED_SNAT", "HAIRPIN_SNAT"];
    const rules = chains.flatMap((chain) => this.tables.rules("nat", chain).map(({ text }) => text));
    return [...rules, ...this.backends.texts()];
  }

  /** True if a rule names the address. */
  names(address: Ip): boolean {
    const names = new RegExp(`(?<![0-9.])${address.replaceAll(".", "\\.")}(?![0-9.])`);
    return this.objectRules().some((text) => names.test(text));
  }

  /** True if packets without a connection are dropped. */
  isGateClosed(): boolean {
    if (this.hasFilterTables) return this.filterTables.has("gate");
    return this.tables.chains("filter").includes("NATGW_GATE");
  }

  isGuarded(): boolean {
    if (this.hasFilterTables) return this.filterTables.has("guard");
    const isHooked = this.tables.rules("filter", "FORWARD").some(({ text }) => text === "-j NATGW_GUARD");
    return isHooked && this.tables.rules("filter", "NATGW_GUARD").length > 0;
  }

  /** The drivers of everything except rules, for one life of an agent. */
  driversFor(life: Life): { network: NetworkDriver; conntrack: ConntrackDriver } {
    return { network: this.#networkFor(life), conntrack: this.#conntrackFor(life) };
  }

  /** Deletes rules of iptables-nft. @returns false if nothing was changed */
  removeByHandle(removals: readonly ChainRemovals[]): boolean {
    if (this.#take("restore-dies")) return false;
    this.#wrote(JSON.stringify(removals), "rules");
    return this.tables.removeAt(removals);
  }

  /** Appends rules of iptables-nft. @returns false if nothing was changed */
  append(additions: readonly ChainAdditions[]): boolean {
    if (this.#take("restore-dies")) return false;
    const lines = additions.flatMap(({ chain, rules }) => rules.map((rule) => appendRule(chain, rule)));
    const input = restoreInput("nat", lines);
    this.#wrote(input, "rules");
    return this.tables.restore(input).exitCode === 0;
  }

  /** Reads the ends of their chains. @returns the rules of `read` with them; `undefined` if the kernel has others */
  readBack(appended: readonly ChainAdditions[], read: RuleDump): RuleDump | undefined {
    if (this.#take("save-fails")) throw new GatewayError("netlink-failed", "a dump was cut short");
    const dump = new Map(read);
    for (const { table, chain, rules } of appended) {
      const before = dump.get(table)?.get(chain) ?? [];
      const now = [...before, ...rules];
      const lines = this.tables.list(table, chain).stdout.trimEnd().split("\n").slice(1);
      if (lines.join() !== now.map(({ raw }) => `-A ${chain} ${raw}`).join()) return undefined;
      dump.set(table, new Map(dump.get(table)).set(chain, now));
    }
    return dump;
  }

  #take(fault: Fault): boolean {
    return this.faults.delete(fault);
  }

  #wrote(what: string, target: WriteTarget): void {
    this.onWrite(what, target);
    this.writes++;
  }

  /** The tools of iptables. */
  command(argv: readonly string[], { stdin = "" }: CommandOptions = {}): CommandOutput {
    const [command = ""] = argv;
    if (command === `iptables-${this.tables.variant}-save`) return this.#save();
    if (command === `iptables-${this.tables.variant}-restore`) {
      if (this.#take("restore-dies")) return failed(4, "Resource busy");
      this.#wrote(stdin, "rules");
      return this.tables.restore(stdin);
    }
    if (command === `iptables-${this.tables.variant}`) {
      if (this.#take("save-fails")) return failed(1, "could not fetch rule set generation id");
      return this.tables.list(argv[2] as TableName, argv[4] ?? "");
    }
    throw new Error(`the model has no ${argv.join(" ")}`);
  }

  /** The tables of guard and gate, for one life of an agent. */
  filterTablesFor(life: Life): FilterTablesDriver {
    const read = async () => {
      await life.moment();
      const isCut = this.#take("nft-read-cut");
      this.onRead("filterTables", isCut);
      if (isCut) throw new GatewayError("unreadable", "a dump was cut short");
      const observed = this.filterTables.read();
      await life.moment();
      return observed;
    };
    return {
      readGeneration: async () => this.generation,
      read,
      // The model keeps no reading.
      forget: () => undefined,
      readWritten: read,
      readCounts: async () => new Map(),
      write: async (transaction, generation) => {
        await life.moment();
        if (generation !== undefined && generation !== this.generation) return { kind: "stale" };
        if (this.#take("nft-write-fails")) return refused("EBUSY", 16);
        this.#wrote(wordsOf(transaction), "rules");
        const isDone = this.filterTables.write(transaction);
        await life.moment();
        return isDone ? { kind: "done" } : refused("ENOENT", 2);
      },
    };
  }

  /** The table of backends, for one life of an agent. */
  backendsFor(life: Life): BackendsDriver {
    const read = async () => {
      await life.moment();
      const isCut = this.#take("nft-read-cut");
      this.onRead("backends", isCut);
      if (isCut) throw new GatewayError("unreadable", "a dump was cut short");
      const observed = this.backends.read();
      await life.moment();
      return observed;
    };
    return {
      read,
      // The model keeps no reading.
      forget: () => undefined,
      readWritten: read,
      write: async (transaction, generation) => {
        await life.moment();
        if (generation !== undefined && generation !== this.generation) return { kind: "stale" };
        if (this.#take("nft-write-fails")) return refused("EBUSY", 16);
        this.#wrote(JSON.stringify([...transaction.write, ...transaction.add]), "rules");
        const isDone = this.backends.write(transaction);
        await life.moment();
        return isDone ? { kind: "done" } : refused("EINVAL", 22, true);
      },
    };
  }

  #save(): CommandOutput {
    if (this.#take("save-fails")) {
      this.onRead("rules", true);
      return failed(1, "could not fetch rule set generation id");
    }
    const dump = this.tables.save();
    // Never twice in a row: two dumps that end at the same place cannot be distinguished from the truth.
    const isCut = !this.#wasCut && this.#take("save-cut");
    this.#wasCut = isCut;
    const end = isCut ? Math.floor(dump.length * this.cutAt) : dump.length;
    this.onRead("rules", /^[*:-]|^COMMIT/m.test(dump.slice(end)));
    return { exitCode: 0, stdout: dump.slice(0, end), stderr: "# Warning: iptables-legacy tables present\n" };
  }

  /** Netlink, for the dataplane nftables. */
  get nftSide(): NftSide {
    const { natTable: table } = this;
    if (table === undefined) throw new Error("this kernel has another dataplane");
    const kernel = this;
    return {
      table,
      get generation() {
        return kernel.generation;
      },
      onDump: (type) => this.#onDump(type),
      onCommit: (messages) => {
        if (this.#take("restore-dies")) return false;
        this.#wrote(`nftables: ${messages.length} messages`, "rules");
        return true;
      },
    };
  }

  /** A reading begins with the tables. A truncated dump is an error of the connection. */
  #onDump(type: number): void {
    const isFirst = type === messageType.getTable;
    const isLie = this.#take(isFirst ? "save-fails" : "save-cut");
    if (isFirst || isLie) this.onRead("rules", isLie);
    if (isLie) throw new GatewayError("netlink-failed", "a dump was cut short");
  }

  #networkFor(life: Life): NetworkDriver {
    /** One step after another: the agent may be killed between any two. */
    const each = async <Step>(
      target: WriteTarget,
      steps: readonly Step[],
      apply: (step: Step) => string | undefined,
    ) => {
      const failures: DriverFailure<Step>[] = [];
      for (const step of steps) {
        await life.moment();
        this.#wrote(JSON.stringify(step), target);
        const code = apply(step);
        if (code !== undefined) failures.push({ step, code, message: code });
      }
      await life.moment();
      return failures;
    };
    return {
      observe: async () => {
        await life.moment();
        const isUnreadable = this.#take("network-unreadable");
        this.onRead("network", isUnreadable);
        if (isUnreadable) throw new GatewayError("netlink-failed", "a dump was cut short");
        const observed = this.network.observe();
        await life.moment();
        return observed;
      },
      observePaths: async () => plainPaths,
      applySysctls: (steps) =>
        each("sysctl", steps, ({ key, value }) => void this.network.setSysctl(key, value)),
      applyAddresses: (steps) => each("address", steps, (step) => this.#address(step)),
      applyRoutes: (steps) => each("route", steps, (step) => this.#route(step)),
    };
  }

  #address({ kind, entry }: AddressStep): string | undefined {
    if (kind === "add") {
      if (this.#take("address-refused")) return "ENOBUFS";
      const code = this.network.addAddress(entry);
      return code === "EEXIST" ? undefined : code;
    }
    const code = this.network.removeAddress(entry);
    return code === "EADDRNOTAVAIL" ? undefined : code;
  }

  #route({ kind, route }: RouteStep): string | undefined {
    if (kind === "add") return this.network.addRoute(route);
    if (kind === "replace") return this.network.replaceRoute(route);
    const code = this.network.removeRoute(route);
    return code === "ESRCH" ? undefined : code;
  }

  #conntrackFor(life: Life): ConntrackDriver {
    return {
      find: async (matches, limit) => {
        await life.moment();
        if (this.#take("flows-unreadable")) throw new GatewayError("netlink-failed", "a dump was cut short");
        const found = this.tracer.flows.filter((flow) => matches(viewOf(flow, ipv4)));
        await life.moment();
        return { flows: found.slice(0, limit), total: found.length };
      },
      remove: async (flows) => {
        await life.moment();
        if (this.#take("flows-stay")) throw new GatewayError("netlink-failed", "EBUSY");
        let removed = 0;
        for (const flow of flows) {
          this.#wrote("a flow", "flow");
          this.onFlowRemoved(flow);
          if (this.tracer.forget(flow)) removed++;
        }
        await life.moment();
        return { removed };
      },
      readStats: async () => ({ count: this.tracer.flows.length, max: 262_144 }),
    };
  }
}

/** The result of loading the ruleset, as far as the tests need it. */
function wordsOf({ definitions, add, remove }: FilterTablesTransaction): string {
  const tables = allFilterTables.flatMap((name) => {
    const change = definitions[name];
    if (change === undefined) return [];
    return [`${change.make === undefined ? "delete" : "make"} table ip ${filterTableNames[name]}`];
  });
  const elements = guardSetNames.map(
    (set) => `${set} +${add[set].size} -${remove[set] === "all" ? "all" : remove[set].length}`,
  );
  return [...tables, ...elements].join("; ");
}

/** @param isOfMessage true if a message of the transaction is at fault */
function refused(code: string, errno: number, isOfMessage = false): Outcome {
  const message = { type: 0, flags: 0, payload: new Uint8Array() };
  const fault = isOfMessage ? { message, offset: undefined } : undefined;
  return { kind: "refused", error: { errno, code, message: code }, fault };
}

function failed(exitCode: number, stderr: string): CommandOutput {
  return { exitCode, stdout: "", stderr: `${stderr}\n` };
}
