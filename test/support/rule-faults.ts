/**
 * Faults when rules are written, the same for every dataplane: with iptables the restore tool causes them, with
 * nftables the netlink socket. While the tool of iptables-nft has a fault, netlink writes no rule without it.
 */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { type Orders, type SocketFault, socketFiles } from "./bad-socket.ts";
import type { DataplaneName, Variant } from "./gateway.ts";
import type { Lab } from "./lab.ts";
import { pidsIn } from "./namespaces.ts";
import { until } from "./run.ts";
import { isRuleWriter, type Tool, type Toolbox } from "./toolbox.ts";

/** Each fault as a tool (toolbox.ts) and as a socket (bad-socket.ts). */
export type WriteFault =
  | "fails"
  | "fallsSilent"
  | "failsAfterwards"
  | "failsWithoutWords"
  | "dies"
  | "dawdles"
  | "hangs";

export interface RuleFaults {
  /** True if the daemon has to be that of agent-on-bad-netlink.ts. */
  readonly isOnNetlink: boolean;
  /** Every transaction fails from now on, or only the next `times`. */
  break(fault: WriteFault, times?: number): Promise<void>;
  /** Refuses everything that contains the address as a whole, with the rest of its transaction. */
  refuse(address: string): Promise<void>;
  /** Readings of the rules that end early or fail. */
  readonly readings: readonly { readonly what: string; readonly strike: () => Promise<void> }[];
  /** Releases what hangs. */
  letGo(): Promise<void>;
  mend(): Promise<void>;
  /** The number of transactions begun so far. */
  attempts(): Promise<number>;
}

export function ruleFaults(toolbox: Toolbox, lab: Lab, dataplane: DataplaneName): RuleFaults {
  return dataplane === "nftables" ? new SocketFaults(toolbox) : new ToolFaults(toolbox, lab, dataplane);
}

class ToolFaults implements RuleFaults {
  readonly #toolbox: Toolbox;
  readonly #socket: SocketFaults | undefined;
  readonly #lab: Lab;
  readonly #tool: Tool;
  readonly #readingTool: Tool;

  constructor(toolbox: Toolbox, lab: Lab, variant: Variant) {
    this.#toolbox = toolbox;
    this.#lab = lab;
    this.#tool = `${variant}-restore`;
    this.#readingTool = `${variant}-save`;
    if (variant === "iptables-nft") this.#socket = new SocketFaults(toolbox);
  }

  get isOnNetlink(): boolean {
    return this.#socket !== undefined;
  }

  async break(fault: WriteFault, times?: number): Promise<void> {
    await this.#socket?.leaveRulesToTools();
    await this.#toolbox.break(this.#tool, fault, times);
  }

  async refuse(address: string): Promise<void> {
    await this.#socket?.leaveRulesToTools();
    await this.#toolbox.script(this.#tool, refusing(address));
  }

  get readings() {
    const cut = (percent: number, exitCode: number) => ({
      what: `${percent} % of it, exit ${exitCode}`,
      strike: () => this.#toolbox.script(this.#readingTool, cutting(percent, exitCode)),
    });
    return [cut(10, 0), cut(35, 0), cut(60, 1), cut(90, 0)];
  }

  /** Its deadline is one minute; it is killed earlier. */
  async letGo(): Promise<void> {
    const pids = await until("a tool that hangs", async () => {
      const all = await pidsIn(this.#lab.namespaceOf("gw"));
      const sleepers = await Promise.all(all.map(async (pid) => ((await isSleeping(pid)) ? [pid] : [])));
      return sleepers.some((found) => found.length > 0) && sleepers.flat();
    });
    for (const pid of pids) process.kill(pid, "SIGKILL");
  }

  async mend(): Promise<void> {
    for (const tool of [this.#tool, this.#readingTool]) await this.#toolbox.mend(tool);
    await this.#socket?.mend();
  }

  async attempts(): Promise<number> {
    return (await this.#toolbox.calls()).filter((call) => call.tool === this.#tool && isRuleWriter(call))
      .length;
  }
}

/** Refuses, with the line number like the kernel's tools, every input that contains `words` as whole words. */
const refusing = (words: string) => `
input=$(mktemp "$here/input.XXXXXX")
cat >"$input"
line=$(grep -n -m 1 -w -F -e '${words}' "$input" | cut -d : -f 1)
if [ -n "$line" ]; then
  rm "$input"
  echo "$tool: line $line failed: injected refusal of ${words}" >&2
  exit 1
fi
"$real" "$@" <"$input"
status=$?
rm "$input"
exit $status
`;

const cutting = (percent: number, exitCode: number) => `
whole=$("$real" "$@")
printf '%s' "$whole" | head -c $((\${#whole} * ${percent} / 100))
exit ${exitCode}
`;

/** A replaced tool sleeps instead of working. */
async function isSleeping(pid: number): Promise<boolean> {
  const argv = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  return argv[0] === "sleep";
}

class SocketFaults implements RuleFaults {
  readonly isOnNetlink = true;
  readonly #files: ReturnType<typeof socketFiles>;
  #number = 0;

  constructor(toolbox: Toolbox) {
    this.#files = socketFiles(toolbox.directory);
  }

  break(fault: WriteFault, times?: number): Promise<void> {
    return this.#order({ fault, ...(times !== undefined && { times }) });
  }

  refuse(address: string): Promise<void> {
    return this.#order({ fault: "refusesAddress", address });
  }

  leaveRulesToTools(): Promise<void> {
    return this.#order({ fault: "refusesToolsRules" });
  }

  /** A reading is eleven dumps: of tables, chains, maps and rules, and of the elements of each map. */
  get readings() {
    const spoil = (fault: SocketFault, after: number) => ({
      what: `${fault}, but for ${after}`,
      strike: () => this.#order({ fault, after }),
    });
    return [
      spoil("cutsDump", 0),
      spoil("overrunsDump", 3),
      spoil("cutsDump", 4),
      spoil("overrunsDump", 10),
      spoil("interruptsDump", 0),
      spoil("deafens", 0),
    ];
  }

  letGo(): Promise<void> {
    return this.mend();
  }

  async #order(orders: Omit<Orders, "number">): Promise<void> {
    const text = JSON.stringify({ ...orders, number: ++this.#number });
    // Written atomically: never half of it is read.
    await writeFile(`${this.#files.orders}.new`, text);
    await rename(`${this.#files.orders}.new`, this.#files.orders);
  }

  mend(): Promise<void> {
    return rm(this.#files.orders, { force: true });
  }

  async attempts(): Promise<number> {
    const text = await readFile(this.#files.transactions, "utf8").catch(() => "");
    return text.split("\n").length - 1;
  }
}
