/** The reference of natgwctl's commands for docs/cli.md, made from the same definitions as its help. */
import type { Command } from "commander";

/** An example of a command: what to type, and what it does. */
export interface Example {
  readonly line: string;
  readonly what: string;
}

/** The part of docs/cli.md from one marker to the next. */
export const referenceMarkers = ["<!-- reference: begin -->", "<!-- reference: end -->"] as const;

/** One section a command. */
export function cliReference(program: Command): string {
  return [
    "These options go with every command:",
    optionTable(program),
    ...program.commands.map(commandSection),
  ].join("\n\n");
}

/** The lines below `Examples:` in a command's help. */
export function examplesOf(command: Command): readonly Example[] {
  const [, text = ""] = helpOf(command).split("\nExamples:\n");
  return text
    .split("\n")
    .map((line) => / {2}(.*?) +# (.*)$/.exec(line))
    .flatMap((match) => (match === null ? [] : [{ line: match[1] ?? "", what: match[2] ?? "" }]));
}

/** The help as the command prints it. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 500 });
  command.outputHelp();
  return text;
}

function commandSection(command: Command): string {
  const { registeredArguments: args } = command;
  const usage = `natgwctl ${command.name()} ${command.usage()}`;
  const examples = examplesOf(command).map(({ line, what }) => `# ${what}\n${line}`);
  return [
    `### ${command.name()}`,
    command.description(),
    `\`${usage}\``,
    ...(args.length === 0
      ? []
      : [
          [
            "| argument | |",
            "|---|---|",
            ...args.map((one) => `| \`${one.name()}\` | ${one.description}${choicesText(one.argChoices)} |`),
          ].join("\n"),
        ]),
    ...(command.options.length === 0 ? [] : [optionTable(command)]),
    `\`\`\`sh\n${examples.join("\n")}\n\`\`\``,
  ].join("\n\n");
}

function optionTable({ options }: Command): string {
  const rows = options.map(({ flags, description, argChoices, defaultValue }) => {
    const preset = typeof defaultValue === "string" ? `; default \`${defaultValue}\`` : "";
    return `| \`${flags.replaceAll("|", "\\|")}\` | ${description}${choicesText(argChoices)}${preset} |`;
  });
  return ["| option | |", "|---|---|", ...rows].join("\n");
}

function choicesText(choices: readonly string[] | undefined): string {
  return choices === undefined ? "" : `: ${choices.map((one) => `\`${one}\``).join(", ")}`;
}
