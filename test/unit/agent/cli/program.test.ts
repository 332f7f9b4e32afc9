/** The commands, and docs/cli.md. `UPDATE_GOLDEN=1` writes the reference in it anew. */
import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { createProgram, groups } from "../../../../agent/cli/program.ts";
import { cliReference, examplesOf, referenceMarkers } from "../../../support/cli-reference.ts";

const program = createProgram("0.0.0", async () => undefined);

t.test("docs/cli.md has the reference of the commands as they are", async (t) => {
  const path = "docs/cli.md";
  const [begin, end] = referenceMarkers;
  const text = readFileSync(path, "utf8");
  const [head = "", rest = ""] = text.split(`${begin}\n`);
  const [reference, tail = ""] = rest.split(`${end}\n`);
  const wanted = `\n${cliReference(program)}\n\n`;
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(path, `${head}${begin}\n${wanted}${end}\n${tail}`);
  else t.equal(reference, wanted);
});

t.test("the command line decides what is defined", async (t) => {
  for (const { names } of groups)
    for (const name of names) {
      const some = createProgram("0.0.0", async () => undefined, [name, "--help"]);
      t.same(
        some.commands.map((command) => command.name()),
        names,
      );
    }
  for (const words of [[], ["--help"], ["-o", "json", "status"], ["nonsense"]])
    t.equal(createProgram("0.0.0", async () => undefined, words).commands.length, program.commands.length);
});

t.test("every command has an example that runs it, and a summary of one line", async (t) => {
  for (const command of program.commands) {
    const examples = examplesOf(command);
    t.ok(examples.length > 0, command.name());
    for (const { line, what } of examples) {
      t.match(line, new RegExp(`natgwctl ${command.name()}\\b`));
      t.not(what, "");
    }
    t.ok(command.summary().length <= 60, `${command.name()}: ${command.summary()}`);
  }
});

t.test("the commands of the contract are there", async (t) => {
  const names = program.commands.map((command) => command.name());
  for (const name of "status get describe apply diff delete wait plan repair verify inventory release connections events export import version".split(
    " ",
  ))
    t.ok(names.includes(name), name);
});
