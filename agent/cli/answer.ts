/** What a command answers: one model, from which every output format is made. */
import type { Section } from "../../lib/text/view.ts";
import type { CliFailure } from "./failures.ts";

export const outputFormats = ["table", "wide", "json", "yaml", "name"] as const;
export type OutputFormat = (typeof outputFormats)[number];

export interface Answer {
  /** What `-o json` and `-o yaml` print. */
  readonly data: unknown;
  /** What `-o name` prints, one per line: names that other commands take. */
  readonly names: readonly string[];
  /** What people see. `isWide` is `-o wide`. */
  readonly sections: (isWide: boolean) => readonly Section[];
  /** 1: a difference, something not Ready, a failed check. By default 0. */
  readonly exitCode?: 0 | 1;
  /** What is missing in it, and why: told after it, with its exit code. */
  readonly failure?: CliFailure;
  /** In place of the sections, where the answer is a file. */
  readonly text?: string;
}
