/** Asks before a write. */
import { layOut } from "../../lib/text/layout.ts";
import type { Section } from "../../lib/text/view.ts";
import type { Context } from "./context.ts";
import { UsageFailure } from "./failures.ts";
import type { Terminal } from "./terminal.ts";

/** @throws UsageFailure if nobody can answer */
export function refuseWithoutAnswer(terminal: Pick<Terminal, "isInteractive">): void {
  if (terminal.isInteractive) return;
  throw new UsageFailure(
    "this command writes, and nobody can be asked: standard input or error is not a terminal",
    ["use --yes to write without being asked, or --dry-run to see what it would do"],
  );
}

/** Shows what is about to happen; beside the output if that is for a program. True unless the user says no. */
export async function confirmed(
  { terminal, format }: Context,
  sections: readonly Section[],
  isAsking: boolean,
  question: string,
): Promise<boolean> {
  if (format === "table" || format === "wide")
    terminal.write(`${layOut(sections, terminal.layout).join("\n")}\n\n`);
  else terminal.show(`${layOut(sections, terminal.noteLayout).join("\n")}\n\n`);
  return !isAsking || terminal.confirm(question);
}
