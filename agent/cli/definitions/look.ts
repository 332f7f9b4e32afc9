/** Commands that show the gateway and its objects. */
import type { Command } from "commander";
import { Option } from "commander";
import { define, kindNames, type Options, type Run } from "./define.ts";

export function look(program: Command, run: Run): void {
  define(program, "look", "get", "Lists objects, those that are not Ready first.", [
    ["natgwctl get fips", "all FIPs"],
    ["natgwctl get all --ready=false", "everything that is not Ready"],
    ["natgwctl get eips eip-a -o yaml", "one object, as apply takes it"],
    ["natgwctl get fips --watch", "and every change from now on"],
  ])
    .argument("<kind>", `one of ${kindNames}, or all; or KIND/NAME`)
    .argument("[name]", "one object")
    .option("--ready <boolean>", "only those that are Ready (true) or are not (false)")
    .option("-w, --watch", "go on with every change")
    .action((kind: string, name: string | undefined, options: Options, command: Command) =>
      run(async (context) => (await import("../commands/get.ts")).get(context, kind, name, options), command),
    );

  define(
    program,
    "look",
    "describe",
    "Everything about one object: spec, conditions, users, kernel, flows, events.",
    [
      ["natgwctl describe fip fip-a", "one FIP"],
      ["natgwctl describe eips/eip-a -o json", "for scripts"],
    ],
  )
    .argument("<kind>", `one of ${kindNames}; or KIND/NAME`)
    .argument("[name]", "the object")
    .action((kind: string, name: string | undefined, _options: Options, command: Command) =>
      run(
        async (context) => (await import("../commands/describe.ts")).describe(context, kind, name),
        command,
      ),
    );

  define(
    program,
    "look",
    "inventory",
    "Every IP of the external subnets: who holds it, and how many are free. Exit code 1 if there are orphans or conflicts.",
    [["natgwctl inventory", "conflicts and orphans first"]],
  ).action((_options, command) =>
    run(async (context) => (await import("../commands/inventory.ts")).inventory(context), command),
  );

  define(program, "look", "events", "What the agent saw and did.", [
    ["natgwctl events --since 10m", "the last ten minutes"],
    ["natgwctl events --follow --type drift", "every drift from now on"],
  ])
    .option("-f, --follow", "go on with every event")
    .option("--since <id|duration>", "after the event with this id, or from how long ago, such as 10m")
    .option("--kind <kind>", "only objects of this kind")
    .option("--name <name>", "only objects with this name")
    .addOption(
      new Option("--type <type>", "only events of this type").choices([
        "object",
        "drift",
        "repair",
        "pass",
        "degraded",
        "conflict",
        "resync",
      ]),
    )
    .action((options: Options, command: Command) =>
      run(async (context) => (await import("../commands/events.ts")).events(context, options), command),
    );
}
