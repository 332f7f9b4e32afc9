/** Describes the machine of the measurements. */
import { spawnSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly nft: string;
  readonly iptables: string;
  readonly iproute2: string;
  /** Load average over one minute at the start: what else the machine did. */
  readonly loadAtStart: number;
}

export function describeMachine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    nft: versionOf("nft", "--version"),
    iptables: versionOf("iptables-nft", "--version"),
    iproute2: versionOf("ip", "-V"),
    loadAtStart: loadavg()[0] ?? Number.NaN,
  };
}

function versionOf(tool: string, option: string): string {
  const { stdout } = spawnSync(tool, [option], { encoding: "utf8", timeout: 10_000 });
  return /\d+\.\d+[.\d]*/.exec(stdout ?? "")?.[0] ?? "unknown";
}
