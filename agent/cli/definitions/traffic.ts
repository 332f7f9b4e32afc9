/** Commands about flows. */
import { Argument, type Command, Option } from "commander";
import { define, type Options, type Run } from "./define.ts";

export function traffic(program: Command, run: Run): void {
  define(program, "traffic", "connections", "The live flows of an EIP, in both directions.", [
    ["natgwctl connections eip-a --limit 20", "some of them, and how many there are"],
    ["natgwctl connections eip-a --top", "the hosts with the most"],
  ])
    .argument("<eip>", "the name or address of the Eip")
    .option("--limit <number>", "at most this many, 1 to 1000")
    .option("--top", "count by host instead")
    .action((eip: string, options: Options, command: Command) =>
      run(
        async (context) => (await import("../commands/connections.ts")).connections(context, eip, options),
        command,
      ),
    );

  define(
    program,
    "traffic",
    "ports",
    "Ports of EIPs in use, by the destinations with the most. Exit code 1 from 80% on.",
    [
      ["natgwctl ports", "the worst destination of each EIP"],
      ["natgwctl ports eip-a", "the 20 worst, with the clients that use most, and when they run out"],
    ],
  )
    .argument("[eip]", "the name or address of the Eip")
    .action((eip: string | undefined, _options: Options, command: Command) =>
      run(async (context) => (await import("../commands/ports.ts")).ports(context, eip), command),
    );

  define(program, "traffic", "top", "Clients, destinations or EIPs with the most ports or flows.", [
    ["natgwctl top clients", "hosts of the VPC"],
    ["natgwctl top destinations --limit 5", "where they go"],
    ["natgwctl top eips", "EIPs, by flows in both directions"],
  ])
    .addArgument(new Argument("<by>", "what to rank").choices(["clients", "destinations", "eips"]))
    .option("--limit <number>", "at most this many, 1 to 1000", "20")
    .action((by: string, options: Options, command: Command) =>
      run(async (context) => (await import("../commands/ports.ts")).top(context, by, options), command),
    );

  define(
    program,
    "traffic",
    "explain",
    "What happens to a packet, stage by stage. Exit code 1 unless it arrives.",
    [
      ["natgwctl explain --from 10.0.1.5 --to 198.51.100.7 --port 443", "from the VPC to the outside"],
      ["natgwctl explain --in eip-a --port 80", "from outside to an EIP"],
    ],
  )
    .option("--from <ip>", "the sender")
    .option("--to <ip>", "the destination as the sender sees it")
    .option("--in <eip>", "an Eip's name or address: what comes to it from outside")
    .addOption(
      new Option("--proto <protocol>", "the protocol").choices(["tcp", "udp", "sctp", "icmp"]).default("tcp"),
    )
    .option("--port <number>", "the destination port")
    .option("--sport <number>", "the source port")
    .action((options: Options, command: Command) =>
      run(async (context) => (await import("../commands/explain.ts")).explain(context, options), command),
    );

  define(program, "traffic", "who", "Which client had a port of an EIP: live flows, then the flow log.", [
    ["natgwctl who 203.0.113.10:40213", "now"],
    ["natgwctl who 203.0.113.10:40213 --proto udp --at 2026-01-01T12:00:00Z", "at a time in the past"],
  ])
    .argument("<eip:port>", "the EIP, as the outside sees it, and the port")
    .addOption(new Option("--proto <protocol>", "only this protocol").choices(["tcp", "udp", "sctp", "icmp"]))
    .option("--at <time>", "at this time (RFC 3339), or how long ago, such as 10m")
    .action((end: string, options: Options, command: Command) =>
      run(async (context) => (await import("../commands/who.ts")).who(context, end, options), command),
    );
}
