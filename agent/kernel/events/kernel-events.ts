/**
 * Kernel events: only that something changed, not what. Each line of a monitor wakes the reconciler, which reads the
 * kernel again. The agent's own writes cause events too; the reconciler looks whether a pass has read them back.
 */
import type { Family } from "../../../lib/model/family.ts";
import { atMostOncePer, type Log } from "../../log.ts";
import { isInstalled, Monitor } from "./monitor.ts";

/** What changed. */
export type WakeKind = "address" | "route" | "link" | "sysctl" | "rule";

/** A command that prints kernel events, and how to recognize their kind in its output. */
export interface MonitorCommand {
  readonly argv: readonly [command: string, ...args: string[]];
  readonly kinds: readonly { readonly kind: WakeKind; readonly marker: string }[];
}

/**
 * One family only: IPv6 router advertisements would wake an IPv4 agent every few seconds. For sysctls the kernel
 * reports forwarding and rp_filter. The monitor's `rule` means policy routing rules; they wake as kind `route`.
 */
export function networkMonitor({ version }: Family): MonitorCommand {
  return {
    argv: ["ip", `-${version}`, "-o", "monitor", "label", "address", "route", "link", "netconf", "rule"],
    kinds: [
      { kind: "address", marker: "[ADDR]" },
      { kind: "route", marker: "[ROUTE]" },
      { kind: "route", marker: "[RULE]" },
      { kind: "link", marker: "[LINK]" },
      { kind: "sysctl", marker: "[NETCONF]" },
    ],
  };
}

/**
 * Prints a line with the generation after the events of each transaction; nft 1.0.6 does not if a rule with a chain in
 * braces was added or removed. iptables-legacy has no events.
 */
export const ruleMonitor: MonitorCommand = {
  argv: ["nft", "monitor"],
  kinds: ["# new generation", "add chain ", "delete chain ", "delete rule "].map((marker) => ({
    kind: "rule",
    marker,
  })),
};

/**
 * @param needsNft false for iptables-legacy, which works without the tool. Guards and gates beside it are tables of nf_tables
 * where the kernel has them: their events are heard if the tool is there
 */
export function monitorsOf(family: Family, needsNft: boolean): readonly MonitorCommand[] {
  const network = networkMonitor(family);
  return needsNft || isInstalled("nft") ? [network, ruleMonitor] : [network];
}

export interface KernelEventsOptions {
  readonly monitors: readonly MonitorCommand[];
  /** Called at most once per kind and {@link coalesceMs}, however many events there were. */
  readonly onWake: (kind: WakeKind) => void;
  /** Events were lost: a full pass is needed. */
  readonly onLost: (reason: string) => void;
  readonly log: Log;
  /** The pause before the first restart of a monitor that ended, in ms. */
  readonly restartPauseMs?: number;
  /** How long to wait at the start for a monitor to listen, in ms. */
  readonly patienceMs?: number;
}

export interface KernelEvents {
  /**
   * Resolves when the monitors listen, so that every later change is seen. One that takes long is not waited for: it wakes
   * once when it listens.
   */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Long enough to merge a batch of changes into one wake, short compared with the time a repair may take. */
export const coalesceMs = 5;

const complaintPeriodMs = 60_000;

/** What `ip` and `nft` print when their socket overran. Both continue afterwards. */
const overrun = /No buffer space|lost some netlink events|netlink receive error/i;

export function createKernelEvents(options: KernelEventsOptions): KernelEvents {
  const { onWake, onLost, log } = options;
  const wakes = new Set<WakeKind>();
  const losses = new Set<string>();
  let timer: NodeJS.Timeout | undefined;

  const tell = () => {
    timer = undefined;
    const [kinds, reasons] = [[...wakes], [...losses]];
    wakes.clear();
    losses.clear();
    for (const reason of reasons) onLost(reason);
    for (const kind of kinds) onWake(kind);
  };
  const soon = () => {
    timer ??= setTimeout(tell, coalesceMs);
  };
  const lose = (reason: string) => {
    losses.add(reason);
    soon();
  };
  const monitors = options.monitors.map(({ argv, kinds }) => {
    const [name] = argv;
    const complain = atMostOncePer(complaintPeriodMs, (stderr: string, times) =>
      log.warn({ monitor: name, stderr: stderr.slice(0, 500), times }, "kernel event monitor printed errors"),
    );
    const find = finder([...kinds.map(({ marker }) => marker), "# ERROR"]);
    return new Monitor({
      argv,
      log,
      onLost: lose,
      onLate: () => {
        for (const { kind } of kinds) wakes.add(kind);
        soon();
      },
      onOutput: (text) => {
        const found = find(text);
        for (const { kind, marker } of kinds) if (found.has(marker)) wakes.add(kind);
        if (found.has("# ERROR")) lose(`${name} monitor lost events`);
        if (wakes.size > 0) soon();
      },
      onComplaint: (text) => {
        if (overrun.test(text)) lose(`${name} monitor lost events`);
        else complain(text);
      },
      ...(options.restartPauseMs !== undefined && { firstPauseMs: options.restartPauseMs }),
      ...(options.patienceMs !== undefined && { patienceMs: options.patienceMs }),
    });
  });
  return {
    start: async () => {
      await Promise.all(monitors.map((monitor) => monitor.start()));
    },
    stop: async () => {
      await Promise.all(monitors.map((monitor) => monitor.stop()));
      clearTimeout(timer);
      timer = undefined;
    },
  };
}

/**
 * Finds which markers a stream contains, part by part. Not line by line: one nftables transaction can be a megabyte of
 * text. A possible beginning of a marker is kept for the next part.
 */
export function finder(markers: readonly string[]): (part: string) => ReadonlySet<string> {
  let tail = "";
  return (part) => {
    const text = tail + part;
    const found = new Set<string>();
    let keptFrom = text.length - Math.max(...markers.map((marker) => marker.length)) + 1;
    for (const marker of markers) {
      const at = text.lastIndexOf(marker);
      if (at < 0) continue;
      found.add(marker);
      // Report each marker once: the kept text starts after it.
      keptFrom = Math.max(keptFrom, at + marker.length);
    }
    tail = text.slice(Math.max(0, keptFrom));
    return found;
  };
}
