/**
 * Keeps the ledger ahead of the kernel: what is about to be put there is written down first, what was taken out is
 * struck off afterwards. A crash in between leaves the ledger naming too much, never too little.
 */

import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import { type Ledger, type LedgerAddress, ledgerKey } from "../../../lib/model/ledger.ts";
import type { State, StateChange } from "../../../lib/state/state.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { Outlook } from "../pass/outlook.ts";

/** A ledger of another life of the namespace says nothing of this one. */
export async function beginEpoch(store: StateAccess, epoch: string): Promise<void> {
  await write(store, ({ ledger }) => (ledger.epoch === epoch ? [] : [{ type: "ledger-epoch", epoch }]));
}

/** Before anything is written to the kernel: addresses to come or to adopt, and EIPs to go whose flows may outlive them. */
export async function writeAhead(
  store: StateAccess,
  outlook: Outlook,
  namedByRules: ReadonlySet<Ipv4>,
): Promise<void> {
  const { addresses } = outlook;
  await write(store, ({ ledger }) => [
    // One that somebody took away is written down already.
    ...[...addresses.add.map(({ entry }) => entry), ...addresses.ledgerMissing]
      .filter((entry) => !ledger.addresses.has(ledgerKey(entry)))
      .map(added),
    ...[...leavingEips(outlook, ledger, namedByRules)]
      .filter((address) => !ledger.retired.has(address))
      .map((address): StateChange => ({ type: "retire", address })),
  ]);
}

/** EIPs of ours that are not to be held: nobody asks for them any more, or they are unbound. */
export function leavingEips(
  { addresses, compiled, own }: Outlook,
  ledger: Ledger,
  namedByRules: ReadonlySet<Ipv4>,
): ReadonlySet<Ipv4> {
  const staying = new Set(own);
  for (const { address } of compiled.program.eips) staying.add(address);
  const leaving = new Set<Ipv4>();
  const note = (address: Ipv4) => {
    if (!staying.has(address)) leaving.add(address);
  };
  for (const address of namedByRules) note(address);
  for (const { address } of compiled.program.unboundEips ?? []) note(address);
  // A route says by itself that its EIP was ours, whether or not the ledger knows.
  for (const { entry } of addresses.remove) note(entry.address);
  for (const { address } of ledger.addresses.values()) note(address);
  return leaving;
}

/**
 * After a pass that left nothing undone: entries of what is gone, and EIPs without a flow left. Those that are unbound may
 * get flows for as long as rules name them.
 */
export async function strikeOff(
  store: StateAccess,
  { addresses, compiled }: Outlook,
  isSwept: boolean,
): Promise<void> {
  const unbound = new Set(compiled.program.unboundEips?.map(({ address }) => address));
  await write(store, ({ ledger }) => [
    ...addresses.ledgerStale.map((entry): StateChange => ({ type: "ledger-remove", entry })),
    ...(isSwept ? [...ledger.retired.difference(unbound)] : []).map(
      (address): StateChange => ({ type: "unretire", address }),
    ),
  ]);
}

function added(entry: LedgerAddress): StateChange {
  return { type: "ledger-add", entry };
}

async function write(store: StateAccess, decide: (state: State) => readonly StateChange[]): Promise<void> {
  if (decide(store.current).length === 0) return;
  await store.transact((state) => ({ changes: decide(state), result: undefined }));
}
