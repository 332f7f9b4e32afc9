/** Desired sets and networks with many objects, in the shapes that are most expensive to report. */
import { recordOf, type Spec } from "../../lib/kinds/registry.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { InterfaceName, Kind } from "../../lib/model/names.ts";
import type { ObservedAddress, ObservedNetwork } from "../../lib/model/observed.ts";
import { reduce } from "../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../lib/state/state.ts";

export interface Shape {
  readonly state: State;
  readonly network: ObservedNetwork;
}

const net1 = "net1" as InterfaceName;

/** Each has about `count` objects. */
export const shapes: Readonly<Record<string, (count: number) => Shape>> = {
  "EIPs of /32": (count) => shapeOf(count, (index) => [["eip", { address: `${ipAt(index)}/32` }]]),
  "one subnet": (count) => shapeOf(count, (index) => [["eip", { address: `${ipAt(index)}/8` }]]),
  "thousands of subnets": (count) =>
    shapeOf(count / 2, (index) => [
      ["eip", { address: `${ipAt(4 * index + 1)}/30` }],
      ["fip", { eip: `eip-${index}`, internalIp: `10.${ipAt(index).slice(3)}` }],
    ]),
  "overlapping CIDRs": (count) =>
    shapeOf(count / 2, (index) => [
      ["eip", { address: `${ipAt(index)}/${8 + (index % 25)}` }],
      ["snat", { eip: "eip-0", internalCIDR: `${ipAt(index)}/${8 + (index % 25)}` }],
    ]),
  "an SNAT pool": (count) =>
    shapeOf(count / 2, (index) => [
      ["eip", { address: `${ipAt(index)}/8` }],
      ["snat", { eip: `eip-${index}`, internalCIDR: "10.0.0.0/8" }],
    ]),
  "DNATs of many backends": (count) =>
    shapeOf(Math.max(1, count / 100), (index) => [
      ["eip", { address: `${ipAt(index)}/8` }],
      [
        "dnat",
        {
          eip: `eip-${index}`,
          protocol: "tcp",
          externalPort: 80,
          backends: Array.from({ length: 100 }, (_, at) => ({ ip: `10.0.1.${at}`, port: 80 })),
        },
      ],
    ]),
  "routes and limits": (count) =>
    shapeOf(count / 2, (index) => [
      ["route", { destination: `${ipAt(index)}/32`, via: "10.0.1.1" }],
      ["limit", { direction: "egress", rateMbit: 10, eip: "eip-0" }],
    ]),
  "foreign addresses": (count) => ({
    ...shapeOf(1, () => [["eip", { address: "198.18.0.1/16" }]]),
    network: networkOf(Array.from({ length: count }, (_, index) => addressAt(index))),
  }),
};

function ipAt(index: number): string {
  return `11.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
}

function shapeOf(
  count: number,
  objectsAt: (index: number) => readonly (readonly [Kind, Record<string, unknown>])[],
): Shape {
  const changes: StateChange[] = [];
  let creation = 0;
  for (let index = 0; index < count; index++) {
    for (const [kind, fields] of objectsAt(index)) {
      const spec = recordOf(kind).canonical({ name: `${kind}-${index}`, ...fields } as unknown as Spec);
      changes.push({ type: "put", kind, object: { spec, revision: 1, creation: ++creation } });
    }
  }
  return {
    state: reduce(emptyState, [...changes, { type: "revision", revision: 1 }]),
    network: networkOf([]),
  };
}

function addressAt(index: number): ObservedAddress {
  const address = ipAt(index) as Ip;
  return { interface: net1, address, prefixLength: 32, isSecondary: false, label: "" } as ObservedAddress;
}

function networkOf(addresses: readonly ObservedAddress[]): ObservedNetwork {
  return { links: [], addresses, routes: [], sysctls: new Map() };
}
