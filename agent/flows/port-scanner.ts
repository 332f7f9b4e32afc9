/**
 * Scans the conntrack table from time to time and keeps the last two censuses. The pause after a scan follows from what
 * it cost: scans take at most 1 % of a core. Nothing else scans, least of all a scrape of metrics.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { AddressKey, Family } from "../../lib/model/family.ts";
import { Census, type CountedEip } from "../../lib/ports/census.ts";
import type { FlowScan } from "../kernel/conntrack/scan.ts";
import { atMostOncePer, type Log } from "../log.ts";

export interface Scanned {
  readonly census: Census;
  /** The one before. Its destinations are still there, its clients are not. */
  readonly before: Census | undefined;
  /** Unix time in ms. */
  readonly wallMs: number;
}

export interface PortScannerDeps {
  readonly family: Family;
  readonly scan: FlowScan;
  /** All Eips, held or not, by the key of their address, oldest first. */
  readonly eips: () => Promise<ReadonlyMap<AddressKey, CountedEip>>;
  /** Called after each scan. The next one waits for it. */
  readonly onScanned: (scanned: Scanned, seconds: number) => Promise<void>;
  readonly wallMs: () => number;
  readonly log: Log;
  /** Monotonic. */
  readonly nowMs?: () => number;
  /** CPU time of this process so far, in ms. */
  readonly cpuMs?: () => number;
  readonly minIntervalMs?: number;
}

/** The share of a core that scans may take. With what V8 collects after them it is 1 %. */
const maxShare = 0.008;
const minIntervalMs = 5_000;
const timeoutMs = 60_000;
const complaintPeriodMs = 60_000;

export class PortScanner {
  readonly #deps: Required<PortScannerDeps>;
  readonly #complain: (error: unknown) => void;
  #last: Scanned | undefined;
  #scanning: Promise<Scanned> | undefined;
  #stop: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(deps: PortScannerDeps) {
    this.#deps = { nowMs: () => performance.now(), cpuMs: cpuMsOfProcess, minIntervalMs, ...deps };
    this.#complain = atMostOncePer(complaintPeriodMs, (err: unknown, times) =>
      this.#deps.log.warn({ err, times }, "connection-tracking table not scanned"),
    );
  }

  start(): void {
    if (this.#stop !== undefined) return;
    this.#stop = new AbortController();
    this.#running = this.#run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop?.abort();
    await this.#running;
    await this.#scanning?.catch(() => undefined);
  }

  /** The last scan. The first call may have to wait for it. Throws the error of a first scan that failed. */
  async latest(signal: AbortSignal): Promise<Scanned> {
    if (this.#last !== undefined) return this.#last;
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = () => reject(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener("abort", onAbort);
    try {
      return await Promise.race([this.#scan(), promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    let pauseMs = this.#deps.minIntervalMs;
    while (!signal.aborted) {
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      const cpuMs = this.#deps.cpuMs();
      await this.#scan().catch(this.#complain);
      // Other work at the same time counts, too: the pause is rather too long.
      pauseMs = pauseAfter(this.#deps.cpuMs() - cpuMs, this.#deps.minIntervalMs);
    }
  }

  /** One at a time: a call during a scan gets its result. */
  #scan(): Promise<Scanned> {
    this.#scanning ??= this.#scanNow().finally(() => {
      this.#scanning = undefined;
    });
    return this.#scanning;
  }

  async #scanNow(): Promise<Scanned> {
    const { family, nowMs, wallMs, scan, onScanned } = this.#deps;
    const begunMs = nowMs();
    const eips = await this.#deps.eips();
    const census = new Census(family, eips, begunMs);
    const signal = AbortSignal.any([
      AbortSignal.timeout(timeoutMs),
      ...(this.#stop === undefined ? [] : [this.#stop.signal]),
    ]);
    const addresses = Array.from(eips.values(), ({ address }) => address);
    await scan(addresses, ({ view, tcpState }) => census.add(view, tcpState), signal);
    const before = this.#last?.census;
    before?.destinations.dropClients();
    const scanned = { census, before, wallMs: wallMs() };
    this.#last = scanned;
    await onScanned(scanned, (nowMs() - begunMs) / 1000);
    return scanned;
  }
}

/** How long to wait after a scan that took `cpuMs` of CPU time. */
export function pauseAfter(cpuMs: number, minMs = minIntervalMs): number {
  return Math.max(minMs, cpuMs / maxShare);
}

function cpuMsOfProcess(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
