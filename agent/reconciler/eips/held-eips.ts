/** Which EIPs the gateway holds according to the last reading. Looked up often, computed once per reading. */

import { type Chunked, forEachChunked, runSync } from "../../../lib/chunked.ts";
import { memoizeLast, memoizeLastChunked } from "../../../lib/memoize.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../lib/model/observed.ts";
import type { Program } from "../../../lib/model/program.ts";
import { heldInChunked } from "../../../lib/plan/network/bindings.ts";
import type { AddressOnLink } from "../../kernel/drivers.ts";

/** By IP: the interface that has it, or all of them. */
type Places = ReadonlyMap<Ip, InterfaceName | readonly InterfaceName[]>;

export class HeldEips {
  readonly #places = memoizeLastChunked(placesIn);
  readonly #eips = memoizeLast(eipsAmong);

  /** Computes in parts what {@link holds} looks up. Without it the first call computes it at once. */
  *prepare(network: ObservedNetwork): Chunked<void> {
    yield* this.#places(network);
  }

  /** True if the reading found the address on that link, with either binding. */
  holds(place: AddressOnLink, network: ObservedNetwork | undefined): boolean {
    return network !== undefined && isAmong(runSync(this.#places(network)), place);
  }

  /** The EIPs of the program that the reading found. */
  eips(program: Program, network: ObservedNetwork): ReadonlyMap<Ip, AddressOnLink> {
    return this.#eips(program, runSync(this.#places(network)));
  }
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

function* placesIn(network: ObservedNetwork): Chunked<Places> {
  const places = new Map<Ip, InterfaceName | readonly InterfaceName[]>();
  yield* forEachChunked(yield* heldInChunked(network), lookedAtOnce, ({ address, interface: name }) => {
    const others = places.get(address);
    places.set(address, others === undefined ? name : [name].concat(others));
  });
  return places;
}

function eipsAmong(program: Program, places: Places): ReadonlyMap<Ip, AddressOnLink> {
  const held = new Map<Ip, AddressOnLink>();
  for (const eip of program.eips) if (isAmong(places, eip)) held.set(eip.address, eip);
  return held;
}

function isAmong(places: Places, { interface: name, address }: AddressOnLink): boolean {
  const found = places.get(address);
  return typeof found === "string" ? found === name : (found?.includes(name) ?? false);
}
