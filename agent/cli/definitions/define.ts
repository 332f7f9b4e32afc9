/** How commands are defined: with a description, examples, and what runs them. What they do is loaded only when they run. */
import type { Command } from "commander";
import { collections } from "../../../lib/model/names.ts";
import type { Answer } from "../answer.ts";
import type { Context } from "../context.ts";

/** Runs a command and prints its answer. Without one, the command has printed what it has to say. */
export type Run = (act: (context: Context) => Promise<Answer | undefined>, command: Command) => Promise<void>;

/** Options and arguments as the user wrote them. */
// biome-ignore lint/suspicious/noExplicitAny: commander knows no types of options; each command has its own.
export type Options = any;

export const kindNames = collections.join(", ");

/** The heading in `natgwctl --help`. */
export const headings = {
  look: "Look:",
  change: "Change:",
  kernel: "Compare with the kernel:",
  traffic: "Traffic:",
  support: "Support:",
} as const;

/** A command with its examples: what to type, and what it does. */
export function define(
  program: Command,
  group: keyof typeof headings,
  name: string,
  description: string,
  examples: readonly (readonly [string, string])[],
): Command {
  const width = Math.max(...examples.map(([line]) => line.length));
  const text = examples.map(([line, what]) => `  ${line.padEnd(width)}  # ${what}`).join("\n");
  return (
    program
      .command(name)
      .description(description)
      // One line in the list of commands.
      .summary(`${description.split(/(?<=\.) |[:;] /)[0]?.replace(/\.$/, "")}`)
      .helpGroup(headings[group])
      .addHelpText("after", `\nExamples:\n${text}`)
  );
}
