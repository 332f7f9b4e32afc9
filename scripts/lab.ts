/** `scripts/lab`: labs for experiments. Each has a name, and several can exist at the same time. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { inNamespace } from "../test/support/in-namespace.ts";
import {
  type HostName,
  Lab,
  labAddresses,
  parseHostName,
  podAddress,
  standingLabs,
} from "../test/support/lab.ts";

const prefix = "natgw-";
const defaultName = "lab";
const namePattern = /^[a-z0-9]{1,20}$/;

const usage = `usage: scripts/lab up [name] [--pods N]         create a lab
       scripts/lab down [name]                  end all processes in it and remove it
       scripts/lab exec [name] <host> cmd...    run a command on a host: outside, gw, pod1, pod2
       scripts/lab status                       list the labs`;

class UsageError extends Error {}

/** The lab called `name` by the user; its namespaces have a prefix. */
function labNamed(name: string, podCount?: number): Lab {
  if (!namePattern.test(name) || parseHostName(name) !== undefined) {
    throw new UsageError(`${name} is not a valid name for a lab`);
  }
  return new Lab(prefix + name, podCount);
}

async function up(args: readonly string[]): Promise<void> {
  const option = args.indexOf("--pods");
  const pods = option < 0 ? 2 : Number(args[option + 1]);
  if (!Number.isInteger(pods) || pods < 1 || pods > 200) throw new UsageError("--pods must be 1 to 200");
  const [name = defaultName, ...rest] = option < 0 ? args : args.toSpliced(option, 2);
  if (rest.length > 0) throw new UsageError(`too many arguments: ${rest.join(" ")}`);
  const lab = labNamed(name, pods);
  if (await find(lab.name)) throw new UsageError(`the lab ${name} exists already`);
  await lab.up();
  print(lab);
}

async function down(args: readonly string[]): Promise<void> {
  const [name = defaultName, ...rest] = args;
  if (rest.length > 0) throw new UsageError(`too many arguments: ${rest.join(" ")}`);
  const lab = await find(labNamed(name).name);
  await lab?.down();
}

async function exec(args: readonly string[]): Promise<number> {
  const [first = "", ...others] = args;
  const [name, hostText = "", ...argv] =
    parseHostName(first) === undefined ? [first, ...others] : [defaultName, ...args];
  const lab = await find(labNamed(name).name);
  if (lab === undefined)
    throw new UsageError(`there is no lab ${name}: create it with scripts/lab up ${name}`);
  const host = parseHostName(hostText);
  if (host === undefined || !lab.hosts.includes(host)) {
    throw new UsageError(`there is no host ${hostText}; the hosts are ${lab.hosts.join(", ")}`);
  }
  if (argv.length === 0) throw new UsageError("the command is missing");
  const [command = "ip", ...rest] = inNamespace(lab.namespaceOf(host), argv);
  const child = spawn(command, rest, { stdio: "inherit" });
  const [code] = await once(child, "exit");
  return typeof code === "number" ? code : 1;
}

async function status(): Promise<void> {
  const labs = await standingLabs(prefix);
  if (labs.length === 0) console.log("there is no lab");
  for (const lab of labs) print(lab);
}

async function find(name: string): Promise<Lab | undefined> {
  return (await standingLabs(prefix)).find((lab) => lab.name === name);
}

function print(lab: Lab): void {
  console.log(lab.name.slice(prefix.length));
  for (const host of lab.hosts) console.log(`  ${host.padEnd(8)} ${addressesOf(host)}`);
}

function addressesOf(host: HostName): string {
  if (host === "outside") return `${labAddresses.outside}/24`;
  if (host === "gw") return `${labAddresses.vpc}/24 on eth0, ${labAddresses.external}/24 on net1`;
  return `${podAddress(Number(host.slice("pod".length)))}/24`;
}

async function main(): Promise<number> {
  const [verb, ...args] = process.argv.slice(2);
  switch (verb) {
    case "up":
      await up(args);
      return 0;
    case "down":
      await down(args);
      return 0;
    case "exec":
      return exec(args);
    case "status":
      await status();
      return 0;
    default:
      throw new UsageError(usage);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
