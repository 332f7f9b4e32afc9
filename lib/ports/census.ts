/**
 * Counts the flows of EIPs in one scan of the conntrack table: by protocol and state, and the ports that flows from an
 * EIP take, by destination and client. {@link Census.add} allocates nothing for most entries.
 */
import { type Chunked, forEachChunked } from "../chunked.ts";
import { type FlowView, flowStatus } from "../conntrack/flow.ts";
import type { AddressKey, Family } from "../model/family.ts";
import { addressOf, type InterfaceAddress, type Ip } from "../model/ip.ts";
import { DestinationCounts, type DestinationLimits } from "./destination-counts.ts";
import {
  closingIndex,
  countedProtocols,
  flowStates,
  protocolIndexOf,
  protocolsWithPorts,
  stateIndexOf,
} from "./flow-state.ts";

/** Address by name, of every Eip. */
export interface CountedEip {
  readonly name: string;
  readonly address: Ip;
}

/** Flows by protocol and state: index `protocol * flowStates.length + state`. */
export type ConnectionCounts = Uint32Array;

export class Census {
  /** When the scan began, in ms of a monotonic clock. */
  readonly atMs: number;
  readonly destinations: DestinationCounts;
  /** By the key of their address, oldest first. */
  readonly eips: ReadonlyMap<AddressKey, CountedEip>;
  readonly #family: Family;
  readonly #connections = new Map<AddressKey, ConnectionCounts>();

  constructor(
    family: Family,
    eips: ReadonlyMap<AddressKey, CountedEip>,
    atMs: number,
    limits?: DestinationLimits,
  ) {
    this.#family = family;
    this.eips = eips;
    this.atMs = atMs;
    this.destinations = new DestinationCounts(family.keyOf, limits);
  }

  /** Counts a flow. The view may be reused afterwards. @param tcpState TCP_CONNTRACK_*, 0 for other protocols */
  add(flow: Readonly<FlowView>, tcpState: number): void {
    if (flow.zone !== 0 || (flow.status & flowStatus.dying) !== 0) return;
    const { keyOf, icmp } = this.#family;
    const from = keyOf(flow.replyDestination);
    const to = keyOf(flow.originalDestination);
    const isFromEip = this.eips.has(from);
    const isToOther = to !== from && this.eips.has(to);
    if (!isFromEip && !isToOther) return;
    const protocol = protocolIndexOf(flow.protocol, icmp);
    const state = stateIndexOf(flow, tcpState);
    if (isToOther) this.#count(to, protocol, state);
    if (!isFromEip) return;
    this.#count(from, protocol, state);
    if (protocol >= protocolsWithPorts) return;
    const { replySource, replySourcePort, originalSource } = flow;
    const isClosing = state === closingIndex;
    this.destinations.add(from, protocol, replySource, replySourcePort, originalSource, isClosing);
  }

  /** `undefined` if the Eip has no flows. */
  connectionsOf(address: AddressKey): ConnectionCounts | undefined {
    return this.#connections.get(address);
  }

  /** True if no Eip has flows. */
  get isEmpty(): boolean {
    return this.#connections.size === 0;
  }

  /** The Eips that have flows. */
  *counted(): Generator<readonly [key: AddressKey, eip: CountedEip, connections: ConnectionCounts]> {
    for (const [key, connections] of this.#connections) {
      const eip = this.eips.get(key);
      if (eip !== undefined) yield [key, eip, connections];
    }
  }

  #count(eip: AddressKey, protocol: number, state: number): void {
    let counts = this.#connections.get(eip);
    if (counts === undefined) {
      counts = new Uint32Array(countedProtocols.length * flowStates.length);
      this.#connections.set(eip, counts);
    }
    const at = protocol * flowStates.length + state;
    counts[at] = (counts[at] ?? 0) + 1;
  }
}

/** Takes a few milliseconds. */
const eipsAtOnce = 5_000;

/** The Eips of a census. Of two that claim one address the older has it. @param specs oldest first */
export function* countedEips(
  specs: Iterable<{ readonly spec: { readonly name: string; readonly address: InterfaceAddress } }>,
  family: Family,
): Chunked<ReadonlyMap<AddressKey, CountedEip>> {
  const counted = new Map<AddressKey, CountedEip>();
  yield* forEachChunked(specs, eipsAtOnce, ({ spec: { name, address } }) => {
    const ip = addressOf(address);
    const key = censusKey(family, ip);
    if (!counted.has(key)) counted.set(key, { name, address: ip });
  });
  return counted;
}

/** The key of an address in a census. */
export function censusKey(family: Family, address: Ip): AddressKey {
  return family.keyOf(family.toValue(address));
}
