/** Plans the table that keeps the API's ports closed. It depends on no object. Without nf_tables it is a part of the gate's plan. */
import type { ApiGuard } from "../../model/api-guard.ts";
import type { Change } from "../../model/change.ts";
import { apiTable, apiTableLines } from "../../nftables/api-guard.ts";
import { type DefinitionLines, isSameDefinition } from "../../nftables/definition-lines.ts";
import { type SubsystemPlanner, subsystemPlan } from "../subsystem.ts";

/** What the kernel holds. */
export interface ApiGuardObserved {
  readonly hasNftables: boolean;
  /** The table; `undefined`: there is none. */
  readonly definition: DefinitionLines;
}

/** Make the table as it is to be. */
export interface ApiGuardStep {
  readonly isReplaced: boolean;
}

export const apiGuardPlanner: SubsystemPlanner<ApiGuardObserved, ApiGuardStep> = {
  name: "api",
  title: "the guard of the API",
  serves: [],
  plan({ context }, observed) {
    const { apiGuard } = context.config;
    const planned = apiGuard && planApiTable(apiGuard, observed);
    return subsystemPlan(
      planned === undefined ? [] : [{ phase: "gate", changes: [planned.change], payload: planned.step }],
    );
  },
  reads: ({ context }) => [context.config],
};

/** `undefined` if the kernel has it, or has no tables. */
export function planApiTable(
  guard: ApiGuard,
  { hasNftables, definition }: ApiGuardObserved,
): { readonly step: ApiGuardStep; readonly change: Change } | undefined {
  if (!hasNftables || isSameDefinition(definition, apiTableLines(guard))) return undefined;
  const isReplaced = definition !== undefined;
  const text = `table inet ${apiTable} { tcp dport { ${guard.ports.join(", ")} } drop${exceptions(guard)} }`;
  return { step: { isReplaced }, change: { action: isReplaced ? "replace" : "add", subsystem: "api", text } };
}

function exceptions({ open }: ApiGuard): string {
  const texts = open.map(({ interface: name, address, port }) => `${address} ${port} from ${name}`);
  return texts.length === 0 ? "" : `, but for ${texts.join(", ")}`;
}
