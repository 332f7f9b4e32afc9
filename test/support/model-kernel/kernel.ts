/**
 * The kernel of one namespace in memory, behind the interfaces that the agent uses: the iptables tools and nft as a
 * `Run`, so that the real planner, parser and driver are tested, and the drivers of network and conntrack. It is
 * transactional, and refuses what the kernel refuses.
 */

import type {
  ConntrackDriver,
  Dataplane,
  DriverFailure,
  NetworkDriver,
} from "../../../agent/kernel/drivers.ts";
import { createIptablesDriver } from "../../../agent/kernel/iptables/driver.ts";
import type { CommandOptions, CommandOutput } from "../../../agent/kernel/run.ts";
import { type Flow, viewOf } from "../../../lib/conntrack/flow.ts";
import type { ChainRemovals } from "../../../lib/iptables/removals.ts";
import type { TableName } from "../../../lib/iptables/rule.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import type { ObservedPaths } from "../../../lib/model/observed.ts";
import type { AddressStep } from "../../../lib/plan/address-plan.ts";
import { createIptablesPlanner } from "../../../lib/plan/iptables/planner.ts";
import type { RouteStep } from "../../../lib/plan/network/routes.ts";
import { Barriers } from "./barriers.ts";
import type { Life } from "./life.ts";
import { Network } from "./network.ts";
import { Tables, type Variant } from "./tables.ts";
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
  readonly variant: Variant;
  readonly tables: Tables;
  readonly barriers = new Barriers();
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

  constructor(variant: Variant) {
    this.variant = variant;
    this.tables = new Tables(variant);
    this.tracer = new Tracer(this.tables, this.barriers, this.network);
    this.network.addAddress({ interface: interfaces.vpc, address: ip(hosts.vpc), prefixLength: 24 });
    this.network.addAddress({
      interface: interfaces.external,
      address: ip(hosts.external),
      prefixLength: 24,
    });
    this.network.addRoute(vpcRoute);
  }

  /** What the dataplane's stamp counts or compares: every write of rules changes it. */
  get stamp(): number | string {
    return this.variant === "nft" ? this.tables.commits + this.barriers.commits + 1 : this.tables.save();
  }

  /** True if the owned chains translate for any object. */
  holdsRules(): boolean {
    return this.objectRules().length > 0;
  }

  /** The rules of objects, as text. */
  objectRules(): readonly string[] {
    const chains = ["EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT", "SHARED_DNAT", "SHARED_SNAT", "HAIRPIN_SNAT"];
    return chains.flatMap((chain) => this.tables.rules("nat", chain).map(({ text }) => text));
  }

  /** True if packets without a connection are dropped. */
  isGuarded(): boolean {
    if (this.variant === "nft") return this.barriers.has("natgw_guard");
    const isHooked = this.tables.rules("filter", "FORWARD").some(({ text }) => text === "-j NATGW_GUARD");
    return isHooked && this.tables.rules("filter", "NATGW_GUARD").length > 0;
  }

  /** The interfaces for one life of an agent. */
  driversFor(
    life: Life,
    nowMs: () => number,
  ): { dataplane: Dataplane; network: NetworkDriver; conntrack: ConntrackDriver } {
    return {
      dataplane: this.#dataplaneFor(life, nowMs),
      network: this.#networkFor(life),
      conntrack: this.#conntrackFor(life),
    };
  }

  #dataplaneFor(life: Life, nowMs: () => number): Dataplane {
    const stamp = async () => {
      await life.moment();
      const taken = this.stamp;
      await life.moment();
      return taken;
    };
    const driver = createIptablesDriver({
      family: ipv4,
      variant: this.variant,
      nowMs,
      run: async (argv, options) => {
        await life.moment();
        const output = this.#command(argv, options);
        await life.moment();
        if (!(options?.exitCodes ?? [0]).includes(output.exitCode))
          throw new GatewayError("command-failed", `${argv[0]} exited with ${output.exitCode}`, {
            details: { ending: "exited", exitCode: output.exitCode },
          });
        return output;
      },
      readGeneration: async () => Number(await stamp()),
      readLegacyDigest: async () => String(await stamp()),
      removeByHandle: async (generation, removals) => {
        await life.moment();
        const isDone = generation === this.stamp && this.#removeByHandle(removals);
        await life.moment();
        return isDone;
      },
    });
    return { driver, planner: createIptablesPlanner(ipv4) };
  }

  #removeByHandle(removals: readonly ChainRemovals[]): boolean {
    if (this.#take("restore-dies")) return false;
    this.#wrote(JSON.stringify(removals), "rules");
    return this.tables.removeAt(removals);
  }

  #take(fault: Fault): boolean {
    return this.faults.delete(fault);
  }

  #wrote(what: string, target: WriteTarget): void {
    this.onWrite(what, target);
    this.writes++;
  }

  #command(argv: readonly string[], { stdin = "" }: CommandOptions = {}): CommandOutput {
    const [command = "", ...args] = argv;
    if (command === `iptables-${this.variant}-save`) return this.#save();
    if (command === `iptables-${this.variant}-restore`) {
      if (this.#take("restore-dies")) return failed(4, "Resource busy");
      this.#wrote(stdin, "rules");
      return this.tables.restore(stdin);
    }
    if (command === `iptables-${this.variant}`) {
      if (this.#take("save-fails")) return failed(1, "could not fetch rule set generation id");
      return this.tables.list(argv[2] as TableName, argv[4] ?? "");
    }
    if (args[0] === "-f") {
      if (this.#take("nft-write-fails"))
        return failed(1, "Error: Could not process rule: Device or resource busy");
      this.#wrote(stdin, "rules");
      return this.barriers.load(stdin);
    }
    const isCut = this.#take("nft-read-cut");
    const table = args.at(-1) ?? "";
    const listing = this.barriers.list(table);
    this.onRead(table, isCut && listing.exitCode === 0);
    return isCut ? { ...listing, stdout: listing.stdout.slice(0, -20) } : listing;
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
    };
  }
}

function failed(exitCode: number, stderr: string): CommandOutput {
  return { exitCode, stdout: "", stderr: `${stderr}\n` };
}
