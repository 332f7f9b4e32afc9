/** The network driver: reads links, addresses, routes and sysctls, and applies the planners' steps. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Family } from "../../../lib/model/family.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { ObservedNetwork, ObservedPaths, ObservedRoute } from "../../../lib/model/observed.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { encodeAddAddress, encodeRemoveAddress } from "../../../lib/netlink/rtnetlink-addresses.ts";
import {
  type DecodedRoute,
  encodeAddRoute,
  encodeAppendRoute,
  encodeRemoveRoute,
  encodeReplaceRoute,
} from "../../../lib/netlink/rtnetlink-routes.ts";
import type { AddressStep } from "../../../lib/plan/address-plan.ts";
import { bindingRoute, routeOfAddress } from "../../../lib/plan/network/bindings.ts";
import type { RouteStep } from "../../../lib/plan/network/routes.ts";
import type { SysctlStep } from "../../../lib/plan/network/sysctls.ts";
import type { DriverFailure, NetworkDriver } from "../drivers.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { NetworkReader } from "./observe.ts";
import { PathReader } from "./paths.ts";
import { writeSysctl } from "./sysctls.ts";

export interface NetworkDriverOptions {
  readonly family: Family;
  /** NETLINK_ROUTE in the namespace to manage. The driver does not close it. */
  readonly netlink: NetlinkConnection;
  /** Root of the sysctls. /proc/sys shows those of the process's own namespace. */
  readonly sysctlRoot?: string;
}

/** The driver for this process's namespace. Steps use the interfaces of the last observation. */
export function createNetworkDriver(options: NetworkDriverOptions): NetworkDriver {
  return new RtnetlinkDriver(options.netlink, options.family, options.sysctlRoot ?? "/proc/sys");
}

class RtnetlinkDriver implements NetworkDriver {
  readonly #netlink: NetlinkConnection;
  readonly #family: Family;
  readonly #sysctlRoot: string;
  readonly #reader: NetworkReader;
  readonly #paths: PathReader;
  /** Interface indexes as last observed. */
  #indexes: ReadonlyMap<string, number> = new Map();

  constructor(netlink: NetlinkConnection, family: Family, sysctlRoot: string) {
    this.#netlink = netlink;
    this.#family = family;
    this.#sysctlRoot = sysctlRoot;
    this.#reader = new NetworkReader(netlink, family, sysctlRoot);
    this.#paths = new PathReader(netlink, family);
  }

  async observe(signal: AbortSignal): Promise<ObservedNetwork> {
    const observed = await this.#reader.read(signal);
    this.#indexes = new Map(observed.links.map((link) => [link.name, link.index]));
    return observed;
  }

  observePaths(network: ObservedNetwork, signal: AbortSignal): Promise<ObservedPaths> {
    return this.#paths.read(network, signal);
  }

  async applySysctls(steps: readonly SysctlStep[], signal: AbortSignal) {
    const failures: DriverFailure<SysctlStep>[] = [];
    const family = this.#family;
    const indexOf = (name: string) => this.#indexes.get(name);
    for (const step of steps) {
      const refusal = await writeSysctl(step, this.#sysctlRoot, this.#netlink, indexOf, family, signal);
      if (refusal !== undefined) failures.push({ step, code: refusal.code, message: refusal.message });
    }
    return failures;
  }

  applyAddresses(steps: readonly AddressStep[], signal: AbortSignal) {
    return this.#apply(steps, encodeAddressStep, (step) => step.entry.interface, addressGoals, signal);
  }

  applyRoutes(steps: readonly RouteStep[], signal: AbortSignal) {
    return this.#apply(steps, encodeRouteStep, (step) => step.route.interface, routeGoals, signal);
  }

  /** @param goals by kind of step, the errno that means that the goal is already reached */
  async #apply<Step extends { readonly kind: string }>(
    steps: readonly Step[],
    encode: (step: Step, index: number | undefined, family: Family) => NetlinkMessage,
    interfaceOf: (step: Step) => InterfaceName | undefined,
    goals: Readonly<Record<Step["kind"], readonly string[]>>,
    signal: AbortSignal,
  ): Promise<readonly DriverFailure<Step>[]> {
    const failures: DriverFailure<Step>[] = [];
    const sendable: Step[] = [];
    const messages: NetlinkMessage[] = [];
    for (const [position, step] of steps.entries()) {
      if (position % encodedAtOnce === encodedAtOnce - 1) await nextTurn();
      const name = interfaceOf(step);
      const index = name === undefined ? undefined : this.#indexes.get(name);
      if (name === undefined || index !== undefined) {
        sendable.push(step);
        messages.push(encode(step, index, this.#family));
      } else if (step.kind !== "remove") {
        // Everything on a removed interface is gone. Only additions fail.
        failures.push({ step, code: "ENODEV", message: `interface ${name} does not exist` });
      }
    }
    const errors = await this.#netlink.batch(messages, signal);
    sendable.forEach((step, position) => {
      const error = errors[position];
      if (error === undefined || goals[step.kind as Step["kind"]].includes(error.code)) return;
      failures.push({ step, code: error.code, message: error.message });
    });
    return failures;
  }
}

/** Takes a few milliseconds. */
const encodedAtOnce = 3_000;

/** ESRCH is for binding routes. EEXIST means that this very route exists, since it is appended to any other. */
const addressGoals = { add: ["EEXIST"], remove: ["EADDRNOTAVAIL", "ESRCH", "ENODEV"] } as const;
/** EEXIST is a failure here: it can be any route with the same destination and metric. */
const routeGoals = { add: [], replace: [], remove: ["ESRCH", "ENODEV"] } as const;

function encodeAddressStep(
  { kind, binding, entry, routeSource }: AddressStep,
  index: number | undefined,
  family: Family,
): NetlinkMessage {
  if (routeSource !== undefined)
    return encodeAppendRoute(withIndex(routeOfAddress(entry, routeSource), index), family);
  if (binding === "route") {
    const encode = kind === "add" ? encodeAppendRoute : encodeRemoveRoute;
    return encode(withIndex(bindingRoute(entry), index), family);
  }
  const encode = kind === "add" ? encodeAddAddress : encodeRemoveAddress;
  return encode(index ?? 0, entry.address, entry.prefixLength, family);
}

function encodeRouteStep(step: RouteStep, index: number | undefined, family: Family): NetlinkMessage {
  switch (step.kind) {
    case "add":
      return encodeAddRoute(withIndex(step.route, index), family);
    case "replace":
      return encodeReplaceRoute(withIndex(step.route, index), family);
    case "remove":
      return encodeRemoveRoute(withIndex(step.route, index), family);
  }
}

function withIndex(route: ObservedRoute, index: number | undefined): DecodedRoute {
  const { table, type, destination, via, protocol, metric, isOnlink, source } = route;
  const from = source === undefined ? {} : { source };
  return { table, type, destination, via, protocol, metric, isOnlink, index, ...from };
}
