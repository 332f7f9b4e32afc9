/** The network planners on random gateways: what they leave alone, and that planning on the result plans nothing. */

import fc from "fast-check";
import t from "tap";
import type { Ip } from "../../../../../lib/model/ip.ts";
import { fromU32, ipv4, makeCidr } from "../../../../../lib/model/ipv4.ts";
import { emptyLedger, type LedgerAddress, ledgerKey } from "../../../../../lib/model/ledger.ts";
import { type InterfaceName, parseInterfaceName } from "../../../../../lib/model/names.ts";
import type {
  ObservedAddress,
  ObservedNetwork,
  ObservedRoute,
  SysctlKey,
} from "../../../../../lib/model/observed.ts";
import { ownedNextHop, type Program } from "../../../../../lib/model/program.ts";
import type { AddressPlan } from "../../../../../lib/plan/address-plan.ts";
import { type AddressInput, planAddresses } from "../../../../../lib/plan/network/addresses.ts";
import {
  bindingRoute,
  boundBy,
  boundByRoute,
  heldIn,
  placeKey,
} from "../../../../../lib/plan/network/bindings.ts";
import { ownAddresses } from "../../../../../lib/plan/network/own-addresses.ts";
import { planRoutes, type RouteStep, routeProtocol } from "../../../../../lib/plan/network/routes.ts";
import { planSysctls } from "../../../../../lib/plan/network/sysctls.ts";

const oneOf = fc.constantFrom;
const [eth0, net1, net2] = ["eth0", "net1", "net2"].map(device) as [
  InterfaceName,
  InterfaceName,
  InterfaceName,
];

const nowhere = { interface: net2, address: fromU32(0) };

/** Few values, so that collisions are frequent. */
const ip = fc.tuple(fc.nat(1), fc.nat(5)).map(([net, host]) => fromU32(0xcb007100 + net * 256 + host + 2));
const fields = { interface: oneOf(eth0, net1, net2), address: ip, prefixLength: oneOf(24, 25, 32) };
const place = fc.record(fields);
const observedAddress = fc.record({ ...fields, isSecondary: fc.boolean(), label: fc.constant("") });
const uniquePlaces = <T extends LedgerAddress>(arbitrary: fc.Arbitrary<T>) =>
  fc.uniqueArray(arbitrary, { selector: ledgerKey, maxLength: 10 });

const destination = fc
  .tuple(fc.nat(2), oneOf(0, 16, 24))
  .map(([net, length]) => makeCidr(fromU32(length === 0 ? 0 : 0x0a000000 + net * 65536), length));
const via = oneOf<Ip>(fromU32(0x0a000001), fromU32(0x0a000002));
const route: fc.Arbitrary<ObservedRoute> = fc.record({
  table: oneOf(254, 254, 254, 255),
  type: oneOf("unicast" as const, "unicast" as const, "other" as const),
  destination,
  via: fc.option(via, { nil: undefined }),
  interface: fc.option(oneOf(eth0, net1, net2), { nil: undefined }),
  protocol: oneOf(2, 3, 16, routeProtocol),
  metric: oneOf(0, 0, 100),
  isOnlink: fc.boolean(),
});

const links = fc
  .subarray([eth0, net1, net2])
  .chain((names) =>
    fc.tuple(
      ...names.map((name, index) =>
        fc.boolean().map((isUp) => ({ index: index + 1, name, mac: "", isUp, hasCarrier: isUp })),
      ),
    ),
  );

const sysctls = fc
  .tuple(
    ...(["forwarding", "promote_secondaries"] as const).flatMap((setting) =>
      [eth0, net1, net2].map((name) =>
        oneOf(0, 1, undefined).map((value): [SysctlKey, number | undefined] => [
          `net.ipv4.conf.${name}.${setting}`,
          value,
        ]),
      ),
    ),
    oneOf(0, 1).map((value): [SysctlKey, number | undefined] => ["net.ipv4.ip_forward", value]),
  )
  .map((entries) => new Map(entries));

const observed: fc.Arbitrary<ObservedNetwork> = fc
  .record({
    links,
    addresses: uniquePlaces(observedAddress),
    routes: fc
      .tuple(
        fc.uniqueArray(route, { selector: (value) => JSON.stringify(value), maxLength: 10 }),
        fc.uniqueArray(place, { selector: placeKey, maxLength: 6 }),
      )
      .map(([routes, routed]) => [...routes, ...routed.map(bindingRoute)]),
    sysctls,
  })
  // Addresses and routes of a missing link do not exist either.
  .map((network) => {
    const names = new Set(network.links.map((link) => link.name));
    return {
      ...network,
      addresses: network.addresses.filter((address) => names.has(address.interface)),
      routes: network.routes.filter((route) => route.interface === undefined || names.has(route.interface)),
    };
  });

const program: fc.Arbitrary<Program> = fc.record({
  family: fc.constant(ipv4),
  vpcInterface: fc.constant(eth0),
  externalInterface: fc.constant(net1),
  defaultGateway: fc.option(via, { nil: undefined }),
  eips: fc
    .uniqueArray(place, { selector: (entry) => entry.address, maxLength: 6 })
    .map((entries) => entries.map((entry) => ({ id: `eips/${entry.address}` as const, ...entry }))),
  fips: fc.constant([]),
  dnats: fc.constant([]),
  pools: fc.constant([]),
  routes: fc
    .uniqueArray(fc.record({ destination, via, interface: oneOf(eth0, net1) }), {
      selector: (route) => route.destination,
      maxLength: 4,
    })
    .map((routes) =>
      routes
        .filter((route) => route.destination !== "0.0.0.0/0")
        .map((route) => ({ id: `routes/${route.destination}` as const, ...route })),
    ),
});

const addressInput: fc.Arbitrary<AddressInput> = fc.record({
  program,
  observed,
  ledger: uniquePlaces(place).map((entries) => ({
    ...emptyLedger,
    addresses: new Map(entries.map((entry) => [ledgerKey(entry), entry])),
  })),
  ownedByRules: fc.uniqueArray(ip, { maxLength: 4 }).map((ips) => new Set(ips)),
  keep: fc.uniqueArray(ip, { maxLength: 2 }).map((ips) => new Set(ips)),
  binding: oneOf("address", "route"),
});

t.test("addresses: planning on the result plans nothing", async () => {
  check(addressInput, (input) => {
    const { addresses } = input.observed;
    const once = applied(input, planAddresses(input));
    // If one IP exists twice and the agent removes its own, a foreign one stays. It then counts as the gateway's own.
    const isTwice = new Set(addresses.map((address) => address.address)).size < addresses.length;
    const again = planAddresses(isTwice ? applied(once, planAddresses(once)) : once);
    return (
      again.add.length + again.remove.length + again.ledgerMissing.length + again.ledgerStale.length === 0
    );
  });
});

t.test("addresses: the result matches the set, and own and foreign addresses stay", async () => {
  check(addressInput, (input) => {
    const { binding, program, ledger, keep } = input;
    const plan = planAddresses(input);
    const { observed } = applied(input, plan);
    const after = new Set(observed.addresses.map(ledgerKey));
    const routed = new Set(boundByRoute(observed).map(placeKey));
    const names = new Set(input.observed.links.map((link) => link.name));
    const asked = program.eips.filter((eip) => !plan.own.has(eip.address) && names.has(eip.interface));
    const anchored = asked.filter(({ id }) => plan.anchors.includes(id));
    const asAddress = binding === "address" ? asked : anchored;
    const asRoute = binding === "route" ? asked : [];
    const askedKeys = new Set(asked.map(ledgerKey));
    const foreign = input.observed.addresses.filter(
      (address) =>
        !ledger.addresses.has(ledgerKey(address)) &&
        !askedKeys.has(ledgerKey(address)) &&
        (plan.own.has(address.address) || !(address.isSecondary && input.ownedByRules.has(address.address))),
    );
    const kept = input.observed.addresses.filter((address) => keep.has(address.address));
    const wanted = new Set(asAddress.map(ledgerKey));
    const gone = [...ledger.addresses.keys(), ...askedKeys].filter((key) => !wanted.has(key));
    const excused = new Set([...plan.blocked.map((item) => item.entry), ...kept].map(ledgerKey));
    const askedRoutes = new Set(asRoute.map(placeKey));
    return (
      [...asAddress, ...foreign, ...kept].every((entry) => after.has(ledgerKey(entry))) &&
      gone.every((key) => !after.has(key) || excused.has(key)) &&
      asRoute.every((eip) => routed.has(placeKey(eip))) &&
      boundByRoute(observed).every((place) => askedRoutes.has(placeKey(place)) || keep.has(place.address))
    );
  });
});

t.test("addresses: an EIP that was held is held at every moment", async () => {
  check(addressInput, (input) => {
    const plan = planAddresses(input);
    const names = new Set(input.observed.links.map((link) => link.name));
    const before = new Set(heldIn(input.observed).map(placeKey));
    const asked = input.program.eips.filter(
      (eip) => !plan.own.has(eip.address) && names.has(eip.interface) && before.has(placeKey(eip)),
    );
    const steps = [...plan.add, ...plan.remove];
    return steps.every((_, index) => {
      const done = steps.slice(0, index + 1);
      const partly = {
        ...plan,
        add: done.filter(({ kind }) => kind === "add"),
        remove: done.filter(({ kind }) => kind === "remove"),
      };
      const held = new Set(heldIn(applied(input, partly).observed).map(placeKey));
      return asked.every((eip) => held.has(placeKey(eip)));
    });
  });
});

t.test("addresses: where EIPs are bound by route no interface loses its last address", async () => {
  check(addressInput, (input) => {
    const plan = planAddresses(input);
    const { observed } = applied(input, plan);
    return boundByRoute(observed).every(
      (place) =>
        input.keep.has(place.address) ||
        observed.addresses.some((address) => address.interface === place.interface),
    );
  });
});

t.test(
  "addresses: every one has exactly one role, and the ledger's are never the gateway's own",
  async () => {
    check(addressInput, (input) => {
      const { own, orphans } = planAddresses(input);
      const desired = new Set(input.program.eips.map((eip) => eip.address));
      const places = new Set([...input.ledger.addresses.values()].map(placeOf));
      const alone = input.observed.addresses.filter(
        (address) =>
          input.observed.addresses.filter((other) => other.address === address.address).length === 1,
      );
      return (
        orphans.every((entry) => !own.has(entry.address) && !desired.has(entry.address)) &&
        alone.every((address) => !own.has(address.address) || !places.has(placeOf(address)))
      );
    });
  },
);

t.test("addresses: what the agent adds never changes what is the gateway's own", async () => {
  check(addressInput, (input) => {
    const plan = planAddresses(input);
    const after = applied(input, plan);
    const own = ownAddresses({ ...after, vpcInterface: input.program.vpcInterface, family: ipv4 });
    // An address that leaves the ledger belongs to nobody. One that enters it belongs to the agent.
    return (
      plan.remove.length + plan.ledgerStale.length + plan.ledgerMissing.length > 0 ||
      own.size === plan.own.size
    );
  });
});

const routeInput = fc.record({ program, observed });

t.test("routes: planning on the result plans nothing", async () => {
  check(routeInput, ({ program, observed }) => {
    const plan = planRoutes({ program, observed });
    const routes = plan.steps.reduce(applyRoute, observed.routes);
    return planRoutes({ program, observed: { ...observed, routes } }).steps.length === 0;
  });
});

t.test("routes: foreign ones stay, but for the places of desired ones", async () => {
  check(routeInput, ({ program, observed }) => {
    const plan = planRoutes({ program, observed });
    const after = plan.steps.reduce(applyRoute, observed.routes);
    const mayGo = (route: ObservedRoute) =>
      route.protocol === routeProtocol ||
      (route.metric === 0 && route.destination === "0.0.0.0/0" && program.defaultGateway !== undefined) ||
      program.routes.some(
        (wish) => wish.destination === route.destination && route.metric === 0 && route.protocol !== 2,
      );
    return observed.routes.every((route) => after.includes(route) || (route.table === 254 && mayGo(route)));
  });
});

t.test("routes: each desired route exists, or is reported as blocked", async () => {
  check(routeInput, ({ program, observed }) => {
    const plan = planRoutes({ program, observed });
    const after = plan.steps.reduce(applyRoute, observed.routes);
    const own = after.filter((route) => route.table === 254 && route.protocol === routeProtocol);
    const isOwned = ownedNextHop(program, observed) !== undefined;
    const asked = program.routes.length + (isOwned ? 1 : 0);
    const left = own.filter(
      ({ destination, via }) =>
        !isOwned && destination === program.family.everything && via === program.defaultGateway,
    );
    return own.length - left.length + plan.blocked.length === asked;
  });
});

t.test("sysctls: planning on the result plans nothing", async () => {
  check(routeInput, ({ program, observed }) => {
    const steps = planSysctls(program, observed);
    const sysctls = new Map([...observed.sysctls, ...steps.map(({ key, value }) => [key, value] as const)]);
    return planSysctls(program, { ...observed, sysctls }).length === 0;
  });
});

function check<T>(arbitrary: fc.Arbitrary<T>, holds: (value: T) => boolean): void {
  fc.assert(fc.property(arbitrary, holds), { numRuns: 3000 });
}

/**
 * Applies a plan like the reconciler and the kernel: first the ledger, then the bindings, then the removals from the
 * ledger.
 */
function applied(input: AddressInput, plan: AddressPlan): AddressInput {
  const addresses = new Map(input.observed.addresses.map((address) => [ledgerKey(address), address]));
  const ledger = new Map(input.ledger.addresses);
  for (const entry of [...plan.ledgerMissing, ...plan.add.map((step) => step.entry)]) {
    ledger.set(ledgerKey(entry), entry);
  }
  let { routes } = input.observed;
  for (const { kind, binding, entry } of [...plan.add, ...plan.remove]) {
    const isPlace = (route: ObservedRoute) => placeKey(boundBy(route) ?? nowhere) === placeKey(entry);
    if (binding === "route" && kind === "add") routes = [...routes, bindingRoute(entry)];
    else if (binding === "route") routes = routes.filter((route) => !isPlace(route));
    else if (kind === "add") addresses.set(ledgerKey(entry), observedOf(entry));
    else addresses.delete(ledgerKey(entry));
  }
  const after = {
    ...input,
    observed: { ...input.observed, addresses: [...addresses.values()], routes },
    ledger: { ...input.ledger, addresses: ledger },
  };
  for (const entry of planAddresses(after).ledgerStale) ledger.delete(ledgerKey(entry));
  return after;
}

/**
 * Like the kernel: a replace affects the first route with the same destination and metric, a delete exactly the given
 * one.
 */
function applyRoute(routes: readonly ObservedRoute[], step: RouteStep): readonly ObservedRoute[] {
  switch (step.kind) {
    case "add":
      return [...routes, step.route];
    case "replace":
      return routes.map((route) => (route === step.replaced ? step.route : route));
    case "remove":
      return routes.filter((route) => route !== step.route);
  }
}

function observedOf(entry: LedgerAddress): ObservedAddress {
  return { ...entry, isSecondary: true, label: "" };
}

function placeOf(entry: LedgerAddress): string {
  return `${entry.interface} ${entry.address}`;
}

function device(text: string): InterfaceName {
  const name = parseInterfaceName(text);
  if (name === undefined) throw new TypeError(text);
  return name;
}
