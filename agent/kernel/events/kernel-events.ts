/**
 * Kernel events: that something changed, never what. Each line of a monitor only wakes the reconciler, which
 * reads the truth again; the agent's own writes echo here like anyone's, and a pass that they wake plans nothing.
 */
import type { Family } from "../../../lib/model/family.ts";
import { atMostOncePer, type Log } from "../../log.ts";
import { Monitor } from "./monitor.ts";

/** What changed. */
export type WakeKind = "address" | "route" | "link" | "sysctl" | "rule";

/** A command that prints kernel events, and how to tell from its output what they are about. */
export interface MonitorCommand {
  readonly argv: readonly [command: string, ...args: string[]];
  readonly kinds: readonly { readonly kind: WakeKind; readonly marker: string }[];
}

/**
 * Of one family: IPv6's router advertisements would wake the agent for IPv4 every few seconds. Of sysctls the kernel tells forwarding
 * and rp_filter; `rule` is the rules of policy routing.
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

/** Prints one such line after the events of each transaction. iptables-legacy has no events at all. */
export const ruleMonitor: MonitorCommand = {
  argv: ["nft", "monitor"],
  kinds: [{ kind: "rule", marker: "# new generation" }],
};

export interface KernelEventsOptions {
  readonly monitors: readonly MonitorCommand[];
  /** At most once per kind and {@link coalesceMs}, however many events there were. */
  readonly onWake: (kind: WakeKind) => void;
  /** Events were lost: only a full pass knows what happened. */
  readonly onLost: (reason: string) => void;
  readonly log: Log;
  /** The pause before a dead monitor's first restart. */
  readonly restartPauseMs?: number;
}

export interface KernelEvents {
  /** Resolves once the monitors listen: what changes after that is seen. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Long enough to make one wake of a batch of changes, short against the time a repair may take. */
export const coalesceMs = 5;

const complaintPeriodMs = 60_000;

/** What `ip` and `nft` say when their socket overran; both go on afterwards. */
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
      log.warn({ monitor: name, stderr: stderr.slice(0, 500), times }, "kernel event monitor complains"),
    );
    const find = finder([...kinds.map(({ marker }) => marker), "# ERROR"]);
    return new Monitor({
      argv,
      log,
      onLost: lose,
      onOutput: (text) => {
        const found = find(text);
        for (const { kind, marker } of kinds) if (found.has(marker)) wakes.add(kind);
        if (found.has("# ERROR")) lose(`${name} monitor overran`);
        if (wakes.size > 0) soon();
      },
      onComplaint: (text) => {
        if (overrun.test(text)) lose(`${name} monitor overran`);
        else complain(text);
      },
      ...(options.restartPauseMs !== undefined && { firstPauseMs: options.restartPauseMs }),
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
 * Says which markers a stream holds, part by part. Not line by line: one nftables transaction may be a
 * megabyte of text. What could be a marker's beginning is kept for the next part.
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
      // Told once: what is kept begins behind it.
      keptFrom = Math.max(keptFrom, at + marker.length);
    }
    tail = text.slice(Math.max(0, keptFrom));
    return found;
  };
}
