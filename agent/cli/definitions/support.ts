/** Commands for backups, adoption and reports. */
import { Argument, type Command } from "commander";
import { define, type Options, type Run } from "./define.ts";

export function support(program: Command, run: Run): void {
  define(program, "support", "export", "The desired set as YAML, as apply takes it.", [
    ["natgwctl export > set.yaml", "a backup"],
    ["natgwctl export -o json", "as JSON"],
  ]).action((_options, command) =>
    run(async (context) => (await import("../commands/transfer.ts")).exportSet(context), command),
  );
  define(
    program,
    "support",
    "import",
    "Makes the live state of the kernel the desired set; lists what no object can stand for.",
    [
      ["natgwctl import --from-kernel --dry-run", "only look. Exit code 1 if something cannot be read"],
      ["natgwctl import --from-kernel", "adopt it"],
    ],
  )
    .option("--from-kernel", "what to import: there is nothing else yet")
    .option("--yes", "do not ask")
    .option("--dry-run", "only show it")
    .action((options: Options, command: Command) =>
      run(async (context) => (await import("../commands/transfer.ts")).importSet(context, options), command),
    );
  define(
    program,
    "support",
    "doctor",
    "Every check of the gateway, with what to do. Exit code 1 if one failed.",
    [
      ["natgwctl doctor", "what failed first"],
      ["natgwctl doctor -o name", "only the names of the checks that failed"],
    ],
  ).action((_options, command) =>
    run(async (context) => (await import("../commands/doctor.ts")).doctor(context), command),
  );

  define(program, "support", "audit", "Who wrote what: the audit log.", [
    ["natgwctl audit --since 1h", "the writes of the last hour"],
    ["natgwctl audit -o json", "for scripts"],
  ])
    .option("--since <time|duration>", "from this time on (RFC 3339), or from how long ago, such as 1h")
    .option("--limit <number>", "only the last ones, at most this many", "100")
    .action((options: Options, command: Command) =>
      run(async (context) => (await import("../commands/audit.ts")).audit(context, options), command),
    );

  define(
    program,
    "support",
    "bugreport",
    "Collects the data for a bug report in one archive; secrets are left out. -o FILE names the archive, -o - writes it to standard output. If no agent answers on the socket, it has what natgwctl can read itself (exit code 3).",
    [
      ["natgwctl bugreport -o report.tgz", "a file"],
      ["kubectl exec POD -- natgwctl bugreport -o - > report.tgz", "out of a pod"],
    ],
  ).action((_options, command) =>
    run(
      async (context) =>
        (await import("../commands/bugreport.ts")).bugreport(context, command.optsWithGlobals()),
      command,
    ),
  );

  define(program, "support", "completion", "A script that completes commands, options, kinds and names.", [
    ["source <(natgwctl completion bash)", "for this shell; also zsh and fish"],
  ])
    .addArgument(new Argument("<shell>", "which shell").choices(["bash", "zsh", "fish"]))
    .action((shell: string, _options: Options, command: Command) =>
      run(async () => (await import("../commands/completion.ts")).completion(shell), command),
    );

  define(program, "support", "version", "The versions of natgwctl and the agent.", [
    ["natgwctl version", "both"],
  ]).action((_options, command) =>
    run(
      async (context) =>
        (await import("../commands/version.ts")).version(context, command.parent?.version() ?? ""),
      command,
    ),
  );
}
