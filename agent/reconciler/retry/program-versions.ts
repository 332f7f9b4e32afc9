/**
 * Numbers the desired programs, so that two passes can be compared. This is not the revision of the store: an expired
 * lease or a quarantine also changes the program.
 */

import type { Compiled } from "../../../lib/compile/compile.ts";
import type { State } from "../../../lib/state/state.ts";

/** Two passes with the same number want the same program. */
export type ProgramVersion = number;

/** A state, and the objects that are kept out of its program. */
export interface ProgramInput {
  readonly state: { readonly desired: Pick<State["desired"], "revision"> };
  readonly blocked: Compiled["blocked"];
}

export class ProgramVersions {
  #version: ProgramVersion = 0;
  #revision: number | undefined;
  #blocked: Compiled["blocked"] = new Map();

  /** The number of this input: a new one if it differs from that of the last call. */
  versionOf({ state, blocked }: ProgramInput): ProgramVersion {
    const { revision } = state.desired;
    if (revision !== this.#revision || !hasSameKeys(blocked, this.#blocked)) this.#version++;
    this.#revision = revision;
    this.#blocked = blocked;
    return this.#version;
  }
}

function hasSameKeys(one: Compiled["blocked"], other: Compiled["blocked"]): boolean {
  if (one === other) return true;
  return one.size === other.size && one.keys().every((id) => other.has(id));
}
