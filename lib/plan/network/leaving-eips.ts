/** EIPs of ours that are not to be held: no longer desired, or unbound. They may still have flows. */
import { type Chunked, everyNth } from "../../chunked.ts";
import type { Ip } from "../../model/ip.ts";
import type { Ledger } from "../../model/ledger.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import type { Program } from "../../model/program.ts";
import { boundByRouteChunked } from "./bindings.ts";

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

export function* leavingEipsChunked(
  program: Program,
  network: ObservedNetwork,
  eipsNamedByRules: ReadonlySet<Ip>,
  ledger: Ledger,
  own: ReadonlySet<Ip>,
): Chunked<ReadonlySet<Ip>> {
  const staying = new Set(own);
  const isDue = everyNth(lookedAtOnce);
  for (const { address } of program.eips) {
    if (isDue()) yield;
    staying.add(address);
  }
  const leaving = new Set<Ip>();
  const note = (address: Ip) => {
    if (!staying.has(address)) leaving.add(address);
  };
  for (const address of eipsNamedByRules) {
    if (isDue()) yield;
    note(address);
  }
  for (const { address } of program.unboundEips ?? []) note(address);
  // The binding route shows that its EIP was ours, even if the ledger does not have it.
  for (const { address } of yield* boundByRouteChunked(network)) {
    if (isDue()) yield;
    note(address);
  }
  for (const { address } of ledger.addresses.values()) {
    if (isDue()) yield;
    note(address);
  }
  return leaving;
}
