/** Random scripts, each with a theme, so that runs concentrate on one subject. */
import fc from "fast-check";
import { backendsHarms } from "./backends-table.ts";
import type { Fault } from "./kernel.ts";
import type { Act, Again, Drift, Named, Opening, Step, Typed, World, Write } from "./script.ts";
import {
  cidrs,
  eclipsing,
  eipAddresses,
  externalPorts,
  foreignAddresses,
  pods,
  refusedPod,
  services,
} from "./universe.ts";

const oneOf = fc.constantFrom;
export const name = (letter: string) => fc.nat(3).map((number) => `${letter}${number}`);
const eipName = name("e");
const pod = oneOf(...pods);
const internalPort = oneOf<number>(...services.tcp);

/** @param odd - things that only some scripts contain: refused pods, leases, invalid addresses */
export function specs(odd: { readonly refused: boolean; readonly leases: boolean; readonly drift: boolean }) {
  const anyPod = odd.refused
    ? fc.oneof({ weight: 3, arbitrary: pod }, { weight: 1, arbitrary: fc.constant(refusedPod) })
    : pod;
  const ip = fc.oneof(
    { weight: 12, arbitrary: oneOf(...eipAddresses.slice(0, 4)) },
    // If an owned chain's rule and an Eip name it, the gateway's own address is by definition an EIP.
    { weight: 1, arbitrary: oneOf(...eipAddresses.slice(odd.drift ? 5 : 4)) },
  );
  const address = fc.oneof(
    { weight: 12, arbitrary: ip.map((text) => `${text}/24`) },
    { weight: 1, arbitrary: oneOf(...eclipsing) },
  );
  const eip = fc.record(
    {
      name: eipName,
      address,
      bound: oneOf(true, true, true, false),
      ...(odd.leases && { leaseSeconds: fc.constant(60) }),
    },
    { requiredKeys: ["name", "address"] },
  );
  const fip = fc.record({ name: name("f"), eip: eipName, internalIp: anyPod });
  const snat = fc.record(
    { name: name("s"), eip: eipName, internalCIDR: oneOf(...cidrs), mapping: oneOf("random", "preserve") },
    { requiredKeys: ["name", "eip", "internalCIDR"] },
  );
  const service = {
    name: name("d"),
    eip: eipName,
    protocol: oneOf("tcp", "udp"),
    externalPort: oneOf(...externalPorts),
  };
  const backends = fc.uniqueArray(fc.record({ ip: anyPod, port: internalPort }), {
    maxLength: 3,
    selector: ({ ip, port }) => `${ip}:${port}`,
  });
  const dnat = fc.oneof(
    fc.record({ ...service, internalIp: anyPod, internalPort }),
    fc.record(
      { ...service, backends, sessionAffinity: oneOf("None", "ClientIP") },
      { requiredKeys: ["name", "eip", "protocol", "externalPort", "backends"] },
    ),
  );
  const route = fc.record({
    name: name("r"),
    destination: oneOf("10.0.0.0/16", "10.8.0.0/16", "0.0.0.0/0", "203.0.113.0/30"),
    via: oneOf("10.0.1.1", "10.0.1.2", ...(odd.refused ? ["10.9.9.9"] : [])),
  });
  const limit = fc.record({
    name: name("l"),
    eip: eipName,
    direction: oneOf("ingress", "egress"),
    rateMbit: oneOf(1, 2.5),
  });
  return { eip, fip, snat, dnat, limit, route };
}

/** The acts that scripts consist of. */
export interface Theme {
  readonly refused?: boolean;
  readonly leases?: boolean;
  readonly drift?: boolean;
  readonly traffic?: boolean;
  readonly faults?: boolean;
  readonly kills?: boolean;
  readonly wire?: boolean;
  readonly lives?: boolean;
  /** A gateway in service, to which mostly single FIPs and DNATs are written: this is what incremental passes are for. */
  readonly isServing?: boolean;
  /** Nothing happens in the middle of a pass. */
  readonly isCalm?: boolean;
}

export function anyTyped(odd: Parameters<typeof specs>[0]): fc.Arbitrary<Typed> {
  const of = specs(odd);
  return fc.oneof(
    { weight: 3, arbitrary: of.eip.map((spec): Typed => ({ kind: "eip", spec })) },
    { weight: 3, arbitrary: of.fip.map((spec): Typed => ({ kind: "fip", spec })) },
    { weight: 2, arbitrary: of.snat.map((spec): Typed => ({ kind: "snat", spec })) },
    { weight: 2, arbitrary: of.dnat.map((spec): Typed => ({ kind: "dnat", spec })) },
    { weight: 1, arbitrary: of.limit.map((spec): Typed => ({ kind: "limit", spec })) },
    { weight: 1, arbitrary: of.route.map((spec): Typed => ({ kind: "route", spec })) },
  );
}

/** A full set with at least `minLength` objects. */
function wholeSet(typed: fc.Arbitrary<Typed>, minLength: number): fc.Arbitrary<Write> {
  const selector = ({ kind, spec }: Typed) => `${kind} ${spec.name}`;
  const objects = fc.uniqueArray(typed, { minLength, maxLength: 14, selector });
  return objects.map((list): Write => ({ do: "set", objects: list }));
}

/** Full sets of a theme. */
export function fullSets({ refused = false, leases = false, drift = false }: Theme, minLength: number) {
  return wholeSet(anyTyped({ refused, leases, drift }), minLength);
}

const renewal = fc
  .uniqueArray(eipName, { minLength: 1, maxLength: 3 })
  .map((names): Write => ({ do: "renew leases", names }));

function writes({ refused = false, leases = false, drift: isDrifting = false }: Theme): fc.Arbitrary<Write> {
  const typed = anyTyped({ refused, leases, drift: isDrifting });
  const named = fc.oneof(
    eipName.map((one): Named => ({ kind: "eip", name: one })),
    name("f").map((one): Named => ({ kind: "fip", name: one })),
    name("s").map((one): Named => ({ kind: "snat", name: one })),
    name("d").map((one): Named => ({ kind: "dnat", name: one })),
    name("l").map((one): Named => ({ kind: "limit", name: one })),
    name("r").map((one): Named => ({ kind: "route", name: one })),
  );
  const selector = ({ kind, spec }: Typed) => `${kind} ${spec.name}`;
  return fc.oneof(
    { weight: 4, arbitrary: typed.map(({ kind, spec }): Write => ({ do: "put", kind, spec })) },
    { weight: 3, arbitrary: named.map(({ kind, name: one }): Write => ({ do: "remove", kind, name: one })) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("batch" as const),
        put: fc.uniqueArray(typed, { maxLength: 5, selector }),
        remove: fc.array(named, { maxLength: 2 }),
      }),
    },
    { weight: 3, arbitrary: wholeSet(typed, 0) },
    ...(leases ? [{ weight: 3, arbitrary: renewal }] : []),
  );
}

/**
 * Rules of other programs in the agent's chains: they steal packets, shadow, repeat, or name the gateway's own
 * address.
 */
const strayRules = [
  "-d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.6",
  "-d 203.0.113.11/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.5:81",
  "-s 10.0.1.0/24 -j SNAT --to-source 203.0.113.12",
  "-s 10.0.1.5/32 -j SNAT --to-source 203.0.113.254",
  "-j RETURN",
] as const;

const drift: fc.Arbitrary<Drift> = fc.oneof(
  fc.record({ do: fc.constant("delete rule" as const), number: fc.nat(60) }),
  fc.record({ do: fc.constant("flush chain" as const), number: fc.nat(20) }),
  fc.constant({ do: "flush nat" as const }),
  fc
    .record({
      chain: oneOf("EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT", "SHARED_DNAT", "SHARED_SNAT", "HAIRPIN_SNAT"),
      rule: oneOf(...strayRules),
    })
    .filter(({ chain, rule }) => rule === "-j RETURN" || rule.includes("DNAT") === chain.includes("DNAT"))
    .map((stray): Drift => ({ do: "stray rule", ...stray })),
  fc.record({ do: fc.constant("foreign rule" as const), table: oneOf("nat", "mangle", "filter") }),
  fc.record({ do: fc.constant("double hook" as const), chain: oneOf("PREROUTING", "POSTROUTING") }),
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("harm backends" as const),
      harm: oneOf(...backendsHarms),
      number: fc.nat(9),
    }),
  },
  fc.record({ do: fc.constant("delete address" as const), number: fc.nat(6) }),
  fc.record({
    do: fc.constant("foreign address" as const),
    address: oneOf(...foreignAddresses),
    prefixLength: oneOf(24, 32),
  }),
  fc.constant({ do: "self again" as const }),
  fc.constant({ do: "delete default" as const }),
  fc.constant({ do: "foreign default" as const }),
  fc.constant({ do: "foreign route" as const }),
  fc.record({ do: fc.constant("link" as const), name: oneOf("eth0", "net1"), isUp: fc.boolean() }),
  fc.constant({ do: "forwarding off" as const }),
);

const opening: fc.Arbitrary<Opening> = fc.record({
  do: fc.constant("open"),
  from: oneOf<Opening["from"]>(0, 1, "outside"),
  to: fc.oneof(fc.nat(3), fc.constant("outside" as const)),
  transport: oneOf("tcp", "udp"),
  port: oneOf(...externalPorts),
  sourcePort: oneOf(40_001, 40_002),
});
const again: fc.Arbitrary<Again> = fc.record({
  do: fc.constant("again"),
  number: fc.nat(9),
  isAnswer: fc.boolean(),
  isStray: fc.boolean(),
});

const fault = fc.record({
  do: fc.constant("fault" as const),
  fault: oneOf<Fault>(
    "restore-dies",
    "save-fails",
    "save-cut",
    "nft-read-cut",
    "nft-write-fails",
    "network-unreadable",
    "address-refused",
    "flows-unreadable",
    "flows-stay",
  ),
  at: fc.double({ min: 0, max: 0.999, noNaN: true }),
});
const diskFull = fc.record({ do: fc.constant("disk full" as const), isFull: fc.boolean() });
const wire: fc.Arbitrary<World> = fc.oneof(
  fc.record({ do: fc.constant("claim" as const), number: fc.nat(3), isClaimed: fc.boolean() }),
  fc.record({ do: fc.constant("slow wire" as const), isSlow: fc.boolean() }),
);
const time = fc.record({ do: fc.constant("time" as const), ms: oneOf(11_000, 60_000, 70_000) });

function acts(theme: Theme): fc.Arbitrary<Act> {
  const weighted = (isOn: boolean | undefined, weight: number, arbitrary: fc.Arbitrary<Act>) =>
    isOn === true ? [{ weight, arbitrary }] : [];
  return fc.oneof(
    { weight: 6, arbitrary: writes(theme) },
    ...weighted(theme.drift, 4, drift),
    ...weighted(theme.traffic, 5, opening),
    ...weighted(theme.traffic, 3, again),
    ...weighted(theme.faults, 3, fault),
    ...weighted(theme.faults, 1, diskFull),
    ...weighted(theme.wire, 3, wire),
    ...weighted(theme.wire === true || theme.leases === true || theme.refused === true, 1, time),
    ...weighted(theme.kills, 1, fc.constant({ do: "kill" as const })),
  );
}

/** Scripts of a theme: acts, with passes between them that may be interrupted anywhere. */
export function scripts(theme: Theme, maxLength = 14): fc.Arbitrary<readonly Step[]> {
  const act = acts(theme);
  const during =
    theme.isCalm === true
      ? fc.constant([])
      : fc.array(fc.record({ at: fc.integer({ min: 1, max: 40 }), act }), { maxLength: 3 });
  const pass = fc.record({ do: fc.constant("pass" as const), isResync: fc.boolean(), during });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: act },
    { weight: 4, arbitrary: pass },
    ...(theme.lives === true
      ? [
          { weight: 1, arbitrary: fc.constant({ do: "renew" as const }) },
          { weight: 1, arbitrary: fc.constant({ do: "lose state" as const }) },
        ]
      : []),
  );
  return fc.array(step, { maxLength, minLength: 1 });
}

/** On a gateway that is already in use, for a player that runs a pass after every step. */
export function busyScripts(theme: Theme, maxLength: number): fc.Arbitrary<readonly Step[]> {
  const odd = { refused: theme.refused === true, leases: theme.leases === true, drift: theme.drift === true };
  return fc
    .tuple(wholeSet(anyTyped(odd), 10), scripts(theme, maxLength))
    .map(([first, rest]): readonly Step[] => [first, ...rest.filter((step) => step.do !== "pass")]);
}
