/** Reads the live state as a set. */
import type { IfMatch } from "../../../lib/admission/writes.ts";
import type { Imported } from "../../../lib/import/import.ts";
import type { State } from "../../../lib/state/state.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { Adoption } from "../adoption.ts";
import type { AskedPass } from "./dry-run.ts";

/** What was read, and the stored state after it. */
export interface ImportedState extends Imported {
  readonly state: State;
}

export interface ImportDeps {
  readonly store: Pick<StateAccess, "current">;
  readonly pass: Pick<AskedPass, "observe" | "preview">;
  readonly adoption: Pick<Adoption, "read" | "adopt">;
}

/** Takes it over if `isAdopted`. Writes nothing to the kernel. No pass may run meanwhile. */
export async function importLive(
  { store, pass, adoption }: ImportDeps,
  isAdopted: boolean,
  ifMatch: IfMatch | undefined,
  signal: AbortSignal,
): Promise<ImportedState> {
  const snapshot = await pass.observe(signal);
  const imported = await adoption.read(snapshot, await pass.preview(store.current, snapshot), signal);
  if (!isAdopted) return { ...imported, state: store.current };
  return { ...imported, state: await adoption.adopt(imported, ifMatch) };
}
