/** What can follow the words of a command line, from the definitions of the commands. */
import type { Argument, Command, Option } from "commander";
import { type Collection, collections } from "../../../lib/model/names.ts";
import { outputFormats } from "../answer.ts";

export interface Candidates {
  readonly words: readonly string[];
  /** Names of objects of this collection, too: only the agent knows them. */
  readonly namesOf?: Collection;
  /** What is typed before such a name, as in `fip/fip-a`. */
  readonly prefix?: string;
}

const none: Candidates = { words: [] };

/** @param words those after `natgwctl`; the last one is being typed, and may be empty */
export function candidates(program: Command, words: readonly string[]): Candidates {
  const before = words.slice(0, -1);
  const current = words.at(-1) ?? "";
  const { command, given, pending } = walk(program, before);
  const found =
    pending !== undefined
      ? valuesOf(pending)
      : current.startsWith("-")
        ? { words: optionsOf(program, command) }
        : command === program
          ? { words: commandsOf(program, before) }
          : argumentsOf(command, given, current);
  return { ...found, words: found.words.filter((word) => word.startsWith(current)) };
}

/** The command, its arguments so far, and the option whose value comes next. */
function walk(program: Command, words: readonly string[]) {
  let command = program;
  let pending: Option | undefined;
  const given: string[] = [];
  for (const word of words) {
    if (pending !== undefined) {
      pending = undefined;
    } else if (word.startsWith("-")) {
      const option = [...command.options, ...program.options].find(
        ({ short, long }) => word === short || word === long,
      );
      pending = option?.required === true ? option : undefined;
    } else if (command === program) {
      command = program.commands.find((one) => one.name() === word) ?? program;
    } else {
      given.push(word);
    }
  }
  return { command, given, pending };
}

function valuesOf({ long, argChoices }: Option): Candidates {
  if (argChoices !== undefined) return { words: argChoices };
  if (long === "--output") return { words: outputFormats.filter((format) => format !== "table") };
  if (long === "--ready") return { words: ["true", "false"] };
  if (long === "--kind") return { words: collections };
  if (long === "--in") return { words: [], namesOf: "eips" };
  return none;
}

/** `help` takes the name of a command. It is none of the commands that are defined. */
function commandsOf(program: Command, before: readonly string[]): readonly string[] {
  const names = program.commands.map((one) => one.name());
  return before.includes("help") ? names : [...names, "help"];
}

function optionsOf(program: Command, command: Command): readonly string[] {
  const all = command === program ? program.options : [...command.options, ...program.options];
  return ["--help", ...all.flatMap(({ long }) => long ?? [])];
}

function argumentsOf(
  { registeredArguments: expected }: Command,
  given: readonly string[],
  current: string,
): Candidates {
  const next = expected[given.length];
  if (next === undefined) return none;
  if (next.argChoices !== undefined) return { words: next.argChoices };
  switch (next.name()) {
    case "kind": {
      const [kind = "", name] = current.split("/");
      const collection = name === undefined ? undefined : collectionOf(kind);
      if (collection !== undefined) return { words: [], namesOf: collection, prefix: `${kind}/` };
      return { words: takesAll(expected) ? [...collections, "all"] : collections };
    }
    case "name": {
      const collection = collectionOf(given[0]);
      return collection === undefined ? none : { words: [], namesOf: collection };
    }
    case "eip":
      return { words: [], namesOf: "eips" };
    default:
      return none;
  }
}

/** Of a kind in the singular or plural. */
function collectionOf(kind: string | undefined): Collection | undefined {
  return collections.find((one) => one === kind || one === `${kind}s`);
}

/** As its description says. */
function takesAll(expected: readonly Argument[]): boolean {
  return expected[0]?.description.includes("or all") ?? false;
}
