import t from "tap";
import type { AddressOnLink } from "../../../../../agent/kernel/drivers.ts";
import type { ProbeState } from "../../../../../agent/reconciler/eips/arp-probe.ts";
import { addressesToProbe, planWithProbes } from "../../../../../agent/reconciler/eips/plan-with-probes.ts";
import type { Chunked } from "../../../../../lib/chunked.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";
import { emptyLedger, type LedgerAddress, ledgerKey } from "../../../../../lib/model/ledger.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../../../lib/model/observed.ts";
import type { AddressPlan } from "../../../../../lib/plan/address-plan.ts";
import type { Plan } from "../../../../../lib/plan/plan.ts";

const at = (address: string): LedgerAddress => ({
  interface: "net1" as InterfaceName,
  address: address as Ip,
  prefixLength: 24,
});
const [known, held, strange, fresh] = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"].map(at);
if (!known || !held || !strange || !fresh) throw new Error("unreachable");

const ledger = { ...emptyLedger, addresses: new Map([[ledgerKey(known), known]]) };
const network = {
  links: [],
  addresses: [{ ...held, prefixLength: 32 }],
  routes: [],
} as unknown as ObservedNetwork;
const step = (entry: LedgerAddress) => ({ kind: "add", binding: "address", entry }) as const;
const ofEip = (entry: LedgerAddress) => ({ ...step(entry), object: "eips/e" as const });
const add: AddressPlan["add"] = [ofEip(known), ofEip(held), step(strange), ofEip(fresh)];

t.test("only EIPs that neither the ledger nor the kernel knows are probed", async (t) => {
  t.strictSame(addressesToProbe({ add }, ledger, network), [fresh]);
  t.strictSame(addressesToProbe({ add: [] }, ledger, network), []);
});

t.test("a second plan is made only if a probe is in progress or another host answered", async (t) => {
  const nothing = { probing: new Set<Ip>(), addressConflicts: new Map<Ip, never>() };
  for (const [review, plans] of [
    [nothing, 1],
    [{ ...nothing, probing: new Set([fresh.address]) }, 2],
    [{ ...nothing, addressConflicts: new Map([[fresh.address, "02:00:00:00:00:01" as never]]) }, 2],
  ] as const) {
    const calls: unknown[] = [];
    const plan = async (probes?: unknown) => {
      calls.push(probes);
      return { addresses: { add }, number: calls.length } as unknown as Plan;
    };
    const asked: (readonly AddressOnLink[])[] = [];
    const arpProbe = {
      *review(candidates: readonly AddressOnLink[]): Chunked<ProbeState> {
        asked.push(candidates);
        yield;
        return review;
      },
    };
    t.match(await planWithProbes(plan, arpProbe, ledger, network), { number: plans });
    t.strictSame(asked, [[fresh]]);
    t.strictSame(calls[0], nothing, "as if all were free");
    t.strictSame(calls.slice(1), plans === 1 ? [] : [undefined], "with the results of the probes");
  }
});
