/**
 * Guard and gate as separate nftables tables, so that a flush of the nat table does not affect them.
 *
 * The guard drops packets between VPC and outside that conntrack marks INVALID: they skip NAT and would leave with
 * their inner address. It also keeps live connections alive while the nat table is flushed or gone, which would
 * otherwise end all of them: its `ct state` keeps conntrack hooked, and its empty nat chain, on any hook, keeps the
 * kernel translating the packets of known flows. The gate drops everything forwarded from VPC to outside, before
 * conntrack confirms the flow.
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

/** The external interfaces in a fixed order: the configured one and those that EIPs name. */
export function outsideInterfaces(program: Program): readonly InterfaceName[] {
  const names = new Set([program.externalInterface]);
  for (const eip of ruledEips(program)) names.add(eip.interface);
  for (const pool of program.pools) names.add(pool.interface);
  names.delete(program.vpcInterface);
  return [...names].sort();
}

/** The wanted content of the barrier's table. */
export function wantedBarrier(name: BarrierName, program: Program): BarrierLines {
  return [
    ...chains[name],
    ...outsideInterfaces(program).map(
      (outside) => `iifname "${program.vpcInterface}" oifname "${outside}" ${match[name]}`,
    ),
  ];
}

/** True if the gate's table drops anything. */
export function holdsBack(gate: BarrierLines | undefined): boolean {
  return gate?.some((line) => line.endsWith(" drop")) ?? false;
}

/** The changes of the barriers. */
export interface BarrierPlan {
  /** One transaction for `nft -f`. `undefined` if there is nothing to do. */
  readonly input: string | undefined;
  readonly changes: readonly Change[];
}

/** The guard always exists, the gate while it is closed. On its own result it plans nothing. */
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
