/** Calls `nat-gateway.sh` as Kube-OVN's controller does, and reads what it leaves in the kernel. */
import { fileURLToPath } from "node:url";
import type { Gateway } from "./gateway.ts";
import { type CallResult, callIn } from "./in-namespace.ts";

const script = fileURLToPath(new URL("../../scripts/nat-gateway.sh", import.meta.url));

/** The controller passes its arguments one by one; until Kube-OVN 1.16 as one string to a shell. */
export const callingForms = ["argv", "string"] as const;
export type CallingForm = (typeof callingForms)[number];

/** @param killAfterMs the script and all that it started are killed then */
export async function callScript(
  gw: Pick<Gateway, "lab" | "agentOptions">,
  form: CallingForm,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  killAfterMs?: number,
): Promise<CallResult> {
  const argv =
    form === "argv"
      ? ["bash", script, ...args]
      : ["/bin/bash", "-c", ["bash", script, ...args.map(shellWord)].join(" ")];
  const bounded =
    killAfterMs === undefined ? argv : ["timeout", "-s", "KILL", `${killAfterMs / 1000}`, ...argv];
  const environment = { NATGW_SOCKET: gw.agentOptions.socketPath, ...env };
  return callTrimmed(gw, bounded, environment);
}

/** Runs a script in the gateway. The last line end of its output is missing, as in the shell's `$(…)`. */
export async function callTrimmed(
  gw: Pick<Gateway, "lab">,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<CallResult> {
  const options = { env, timeoutMs: 60_000 };
  const { exitCode, stdout, stderr } = await callIn(gw.lab.namespaceOf("gw"), argv, options);
  return { exitCode, stdout: withoutLineEnd(stdout), stderr: withoutLineEnd(stderr) };
}

function withoutLineEnd(text: string): string {
  return text.replace(/\n$/, "");
}

/** As the controller writes it. What it would not write is quoted, so that the script gets it. */
function shellWord(text: string): string {
  return /^[\w.,:@/|-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Chains whose rules the operations change. */
const chains = /^-A (?:EXCLUSIVE_DNAT|EXCLUSIVE_SNAT|SHARED_DNAT|SHARED_SNAT|HAIRPIN_SNAT) /;

/** What the operations change in the kernel, as the tools print it. One shell reads it all: a test does so after each call. */
export async function kernelLines(gw: Gateway): Promise<readonly string[]> {
  const reading = [
    `${gw.variant}-save -t nat`,
    "ip -4 -o address show dev net1",
    "ip -4 route show",
    'tables=$(nft list tables); case $tables in *"table ip kube-ovn"*) nft list table ip kube-ovn ;; esac',
  ].join("; echo --; ");
  const text = await gw.lab.exec("gw", ["sh", "-ec", reading]);
  const [rules = "", addresses = "", routes = "", backends = ""] = text.split("--\n");
  return [
    ...rules.split("\n").filter((line) => chains.test(line)),
    ...Array.from(addresses.matchAll(/ inet (\S+)/g), ([, address = ""]) => address),
    ...routes
      .split("\n")
      .flatMap((line) => (line.includes("proto kernel") || line === "" ? [] : line.trim())),
    ...backendsIn(backends),
  ];
}

/** The backends of the table `ip kube-ovn`: `203.0.113.10 tcp 80 10.0.1.5:80,10.0.1.6:80`. */
function backendsIn(table: string): readonly string[] {
  return Array.from(table.matchAll(/^\tchain dnat-([\d.]+)-(\w+)-(\d+) \{(.*?)^\t\}/gms), (chain) => {
    const targets = Array.from(
      (chain[4] ?? "").matchAll(/: ([\d.]+) \. (\d+)/g),
      ([, ip, port]) => `${ip}:${port}`,
    );
    const by = chain[4]?.includes("jhash ip saddr") ? " by client" : "";
    return `${chain[1]} ${chain[2]} ${chain[3]} ${[...new Set(targets)].sort().join()}${by}`;
  });
}

/** The difference, line by line: `+ line`, `- line`. */
export function differenceOf(before: readonly string[], after: readonly string[]): readonly string[] {
  const [one, other] = [new Set(before), new Set(after)];
  return [
    ...before.filter((line) => !other.has(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !one.has(line)).map((line) => `+ ${line}`),
  ];
}
