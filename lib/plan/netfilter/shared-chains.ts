/**
 * Checks whether the shared chains that jump to the agent's are active: the iptables tools show neither a dormant table
 * nor a chain without a hook. A chain that only jumps to the agent's is recreated; a chain with foreign rules stays.
 */
import type { Change } from "../../model/change.ts";
import type { Kind } from "../../model/names.ts";
import { isOwnChain } from "../iptables/owned.ts";
import type { SharedChain } from "../rules-planner.ts";
import type { Step } from "../subsystem.ts";
import type { NetfilterObserved, ObservedChain } from "./observed.ts";

export interface SharedChainsPlan {
  /** The payload is input of `nft -f`. */
  readonly steps: readonly Step<string>[];
  readonly faults: readonly SharedChainFault[];
}

/** Why rules have no effect. */
export interface SharedChainFault {
  readonly message: string;
  readonly kinds: readonly Kind[];
  /** True if the agent must not repair it. */
  readonly isForeign: boolean;
}

export function planSharedChains(
  shared: readonly SharedChain[],
  { tables, chains }: NetfilterObserved,
): SharedChainsPlan {
  const steps: Step<string>[] = [];
  const faults: SharedChainFault[] = [];
  for (const { label, isDormant } of tables) {
    const served = isDormant ? shared.filter(({ table }) => table === label) : [];
    if (served.length === 0) continue;
    const kinds = served.flatMap((chain) => chain.serves);
    faults.push({ message: `table ${label} is dormant`, kinds, isForeign: false });
    steps.push(stepOf(`add table ${label}`, "it is dormant"));
  }
  for (const chain of shared) {
    const found = chains.find(({ table, name }) => table === chain.table && name === chain.name);
    const fault = found === undefined ? undefined : faultOf(chain, found);
    if (found === undefined || fault === undefined) continue;
    const isForeign = !found.targets.every(
      (target) => target !== undefined && isOwnChain(`nft ${found.table}`, target),
    );
    const message = `chain ${placeOf(chain)} ${fault}`;
    faults.push({ message, kinds: chain.serves, isForeign });
    if (isForeign) continue;
    const input = `flush chain ${placeOf(chain)}\ndelete chain ${placeOf(chain)}\n${creation(chain)}`;
    steps.push(stepOf(input, fault, `add chain ${placeOf(chain)}`));
  }
  return { steps, faults };
}

function faultOf({ hook: wanted }: SharedChain, { hook }: ObservedChain): string | undefined {
  if (hook === undefined) return "is on no hook";
  if (hook.name !== wanted.name) return `is on the hook ${hook.name}`;
  if (hook.type !== wanted.type) return `is of type ${hook.type}`;
  if (hook.priority !== wanted.priority) return `has priority ${hook.priority}`;
  return wanted.type === "nat" && hook.policy === "drop" ? "has policy drop" : undefined;
}

function placeOf({ table, name }: SharedChain): string {
  return `${table} ${name}`;
}

function creation(chain: SharedChain): string {
  const { type, name, priority } = chain.hook;
  const place = placeOf(chain);
  return [
    `add chain ${place} { type ${type} hook ${name} priority ${priority}; policy accept; }`,
    `add rule ${place} counter jump ${chain.target}`,
  ].join("\n");
}

function stepOf(input: string, why: string, text = input): Step<string> {
  const change: Change = { action: "set", subsystem: "netfilter", text: `${text} (${why})` };
  return { phase: "rules", changes: [change], payload: `${input}\n` };
}
