/**
 * The guard and the gate as nftables tables of their own, which no flush of a nat table touches.
 *
 * The guard drops what conntrack calls INVALID between VPC and outside: such packets skip NAT and would leave with
 * their inner address. It also keeps live connections alive while the nat table is flushed or gone, which would end every one
 * of them: its `ct state` keeps conntrack hooked, and its empty nat chain, on whichever hook, keeps the kernel translating
 * the packets of the flows that it knows. The gate drops all that would be forwarded from VPC to outside, before conntrack confirms it.
 */
import type { Change } from "../../model/change.ts";
import type { InterfaceName } from "../../model/names.ts";
import { type Program, ruledEips } from "../../model/program.ts";
import {
  type BarrierLines,
  type BarrierName,
  barrierInput,
  barrierTables,
  isBarrierRule,
  type ObservedBarrier,
} from "../../nftables/barrier.ts";
import type { GateState } from "../rules-planner.ts";

const chains = {
  guard: [
    "chain forward { type filter hook forward priority 0; policy accept; }",
    "chain anchor { type nat hook input priority 100; policy accept; }",
  ],
  gate: ["chain forward { type filter hook forward priority -300; policy accept; }"],
} as const satisfies Record<BarrierName, BarrierLines>;
const match = { guard: "ct state invalid drop", gate: "drop" } as const satisfies Record<BarrierName, string>;

/** The interfaces to the outside, in a fixed order: the external one and those that EIPs name. */
export function outsideInterfaces(program: Program): readonly InterfaceName[] {
  const names = new Set([program.externalInterface]);
  for (const eip of ruledEips(program)) names.add(eip.interface);
  for (const pool of program.pools) names.add(pool.interface);
  names.delete(program.vpcInterface);
  return [...names].sort();
}

/** What the barrier's table is to hold. */
export function wantedBarrier(name: BarrierName, program: Program): BarrierLines {
  return [
    ...chains[name],
    ...outsideInterfaces(program).map(
      (outside) => `iifname "${program.vpcInterface}" oifname "${outside}" ${match[name]}`,
    ),
  ];
}

/** True where the gate's table holds anything back. */
export function holdsBack(gate: BarrierLines | undefined): boolean {
  return gate?.some((line) => line.endsWith(" drop")) ?? false;
}

/** What takes the barriers to where they are to be. */
export interface BarrierPlan {
  /** One transaction for `nft -f`; `undefined` where nothing is to be done. */
  readonly input: string | undefined;
  readonly changes: readonly Change[];
}

/** The guard is always there, the gate while it is closed. Planning on the result plans nothing. */
export function planBarrier(program: Program, observed: ObservedBarrier, gate: GateState): BarrierPlan {
  const parts = [
    planOne("guard", observed.guard, wantedBarrier("guard", program)),
    planOne("gate", observed.gate, gate === "closed" ? wantedBarrier("gate", program) : undefined),
  ].filter((part) => part !== undefined);
  return {
    input: parts.length === 0 ? undefined : parts.map(({ input }) => input).join(""),
    changes: parts.map(({ change }) => change),
  };
}

function planOne(
  name: BarrierName,
  observed: BarrierLines | undefined,
  wanted: BarrierLines | undefined,
): { readonly input: string; readonly change: Change } | undefined {
  if (observed?.join("\n") === wanted?.join("\n")) return undefined;
  const action = wanted === undefined ? "remove" : observed === undefined ? "add" : "replace";
  const rules = wanted === undefined ? "" : ` { ${wanted.filter(isBarrierRule).join("; ")} }`;
  const text = `table ip ${barrierTables[name]}${rules}`;
  return { input: barrierInput(name, wanted), change: { action, subsystem: name, text } };
}
