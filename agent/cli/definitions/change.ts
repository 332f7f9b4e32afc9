/** Commands that write. */
import type { Command } from "commander";
import { Option } from "commander";
import { define, kindNames, type Options, type Run } from "./define.ts";

export function change(program: Command, run: Run): void {
  define(
    program,
    "change",
    "apply",
    "Writes objects, or a full set: shows what that does, asks, and waits until all is Ready.",
    [
      ["natgwctl apply -f set.yaml", "a file with a generation replaces the whole set, any other adds to it"],
      ["natgwctl apply -f fip.json --dry-run", "only what it would do, and which flows it ends"],
      [
        "natgwctl get fip fip-a -o yaml | sed s/10.0.1.5/10.0.1.6/ | natgwctl apply --yes -f -",
        "without a question",
      ],
    ],
  )
    .requiredOption("-f, --file <file>", "YAML or JSON; - is standard input; required")
    .option("--yes", "do not ask")
    .option("--dry-run", "change nothing")
    .option("--wait <duration>", "how long to wait until all is Ready, at most 5m", "30s")
    .option("--no-wait", "do not wait")
    .action((options: Options, command: Command) =>
      run(async (context) => (await import("../commands/apply.ts")).apply(context, options), command),
    );
  define(
    program,
    "change",
    "diff",
    "What apply would change in the desired set. Exit code 1 if there is anything.",
    [["natgwctl diff -f set.yaml", "a full set, or objects"]],
  )
    .requiredOption("-f, --file <file>", "YAML or JSON; - is standard input; required")
    .action((options: Options, command: Command) =>
      run(async (context) => (await import("../commands/apply.ts")).diff(context, options), command),
    );
  define(
    program,
    "change",
    "wait",
    "Waits until an object, or all of a kind, is Ready or deleted. Exit code 1 if not in time.",
    [
      ["natgwctl wait fip/fip-a --for=ready --timeout 1m", "one FIP"],
      ["natgwctl wait eips --for=ready", "all Eips"],
    ],
  )
    .argument("<kind>", `one of ${kindNames}; or KIND/NAME`)
    .argument("[name]", "one object")
    .addOption(new Option("--for <state>", "what to wait for").choices(["ready", "deleted"]).default("ready"))
    .option("--timeout <duration>", "how long to wait", "30s")
    .action((kind: string, name: string | undefined, options: Options, command: Command) =>
      run(
        async (context) => (await import("../commands/wait.ts")).wait(context, kind, name, options),
        command,
      ),
    );
  define(
    program,
    "change",
    "release",
    "Takes an orphan out of the kernel: an address that nothing explains.",
    [["natgwctl release 203.0.113.99", "with its rules and flows; natgwctl inventory lists the orphans"]],
  )
    .argument("<ip>", "the address")
    .action((ip: string, _options: Options, command: Command) =>
      run(async (context) => (await import("../commands/inventory.ts")).release(context, ip), command),
    );
  define(program, "change", "delete", "Removes one object; waits until it is gone from the kernel.", [
    ["natgwctl delete fip fip-a", "one FIP"],
    ["natgwctl delete eip eip-a --cascade", "an Eip with everything that uses it"],
    ["natgwctl delete fip fip-a --dry-run", "what it would do, and which flows it ends"],
  ])
    .argument("<kind>", `one of ${kindNames}; or KIND/NAME`)
    .argument("[name]", "the object")
    .option("--cascade", "also delete what uses the Eip")
    .option("--dry-run", "change nothing")
    .option("--wait <duration>", "how long to wait until it is gone", "30s")
    .option("--no-wait", "do not wait")
    .action((kind: string, name: string | undefined, options: Options, command: Command) =>
      run(
        async (context) => (await import("../commands/delete.ts")).remove(context, kind, name, options),
        command,
      ),
    );
}
