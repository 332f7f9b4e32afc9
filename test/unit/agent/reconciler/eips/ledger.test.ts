import t from "tap";
import { forgetRemoved, writeAhead } from "../../../../../agent/reconciler/eips/ledger.ts";
import type { StateAccess } from "../../../../../agent/store/state-access.ts";
import { inParts, runSync } from "../../../../../lib/chunked.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";
import type { LedgerAddress } from "../../../../../lib/model/ledger.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import type { PlanInput } from "../../../../../lib/plan/plan-input.ts";
import { reduce } from "../../../../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../../../../lib/state/state.ts";

const ip = (text: string) => text as Ip;

t.test("an address that another program removed is already in the ledger", async (t) => {
  const entry = { interface: "net1" as InterfaceName, address: ip("203.0.113.1"), prefixLength: 24 };
  const other = { ...entry, prefixLength: 25 };
  const state = reduce(emptyState, [{ type: "ledger-add", entry }]);
  const written: StateChange[] = [];
  const store = {
    current: state,
    transact: async (decide: (state: State) => { readonly changes: readonly StateChange[] }) => {
      written.push(...runSync(inParts(decide(state))).changes);
    },
  } as unknown as StateAccess;
  const planOf = (...entries: readonly LedgerAddress[]) =>
    ({
      addresses: { add: entries.map((entry) => ({ entry })), remove: [], ledgerMissing: [] },
      leaving: new Set(),
    }) as unknown as PlanInput;
  await writeAhead(store, planOf(entry));
  t.same(written, []);
  await writeAhead(store, planOf(entry, other));
  t.same(written, [{ type: "ledger-add", entry: other }]);
});

t.test("an unbound EIP is recorded once, and forgotten when no rule uses it", async (t) => {
  let state = emptyState;
  const written: string[] = [];
  const store = {
    get current() {
      return state;
    },
    transact: async (decide: (state: State) => { readonly changes: readonly StateChange[] }) => {
      const { changes } = runSync(inParts(decide(state)));
      written.push(...changes.map(({ type }) => type));
      state = reduce(state, changes);
    },
  } as unknown as StateAccess;
  const planOf = (unboundEips: readonly { readonly address: Ip }[]) =>
    ({
      addresses: { add: [], remove: [], ledgerMissing: [], ledgerStale: [] },
      program: { eips: [], unboundEips },
      leaving: new Set(unboundEips.map(({ address }) => address)),
    }) as unknown as PlanInput;
  const address = ip("203.0.113.1");
  for (let pass = 0; pass < 2; pass++) {
    await writeAhead(store, planOf([{ address }]));
    await forgetRemoved(store, planOf([{ address }]), true);
    t.same([written, [...state.ledger.retired]], [["retire"], [address]]);
  }
  await forgetRemoved(store, planOf([]), false);
  t.same([...state.ledger.retired], [address], "its flows may live");
  await forgetRemoved(store, planOf([]), true);
  t.same([...state.ledger.retired], []);
});
