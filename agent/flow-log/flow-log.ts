/**
 * The NAT flow log: a line for each translation that ended (and began), and for ports that run out. Off by default; then
 * nothing of it runs. The event loop never waits for it, and what is lost is counted and noted in the log.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import {
  encodeRecord,
  type GapReason,
  isoTime,
  type PortsRecord,
  sessionRecord,
} from "../../lib/flow-log/records.ts";
import { compileObjects, isTranslated, type ObjectOf } from "../../lib/flow-log/translation.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Family } from "../../lib/model/family.ts";
import { readAccounting } from "../../lib/netlink/ctnetlink-accounting.ts";
import type { Census } from "../../lib/ports/census.ts";
import type { Desired } from "../../lib/state/desired.ts";
import { enableFlowEvents } from "../kernel/conntrack/event-sysctls.ts";
import { type FlowEventVisitor, openFlowEvents } from "../kernel/conntrack/flow-events.ts";
import { atMostOncePer, type Log } from "../log.ts";
import { runYielding } from "../run-yielding.ts";
import { Exhaustion } from "./exhaustion.ts";
import { Gaps } from "./gaps.ts";
import { LineBuffer, type LineSink } from "./line-buffer.ts";
import { listSegments, SegmentSink } from "./segments.ts";
import { StdoutSink } from "./stdout-sink.ts";

export interface FlowLogSettings {
  readonly level: "off" | "errors" | "translations" | "all";
  /** One of this many flows is logged. */
  readonly sample: number;
  readonly maxBytes: number;
  readonly output: "disk" | "stdout";
  readonly stateDir: string;
}

export interface FlowLogDeps {
  readonly family: Family;
  readonly desired: () => Desired;
  readonly settings: FlowLogSettings;
  readonly onWritten: (records: number) => void;
  readonly onLost: (reason: GapReason, records: number) => void;
  readonly wallMs: () => number;
  readonly log: Log;
  /** Of the socket for events. */
  readonly receiveBufferBytes?: number;
}

/** Where the log is on disk. */
export function logDirectory({ stateDir }: Pick<FlowLogSettings, "stateDir">): string {
  return join(stateDir, "flow-log");
}

const complaintPeriodMs = 60_000;
/** The share of time that compiling the desired set may take: it changes with every write. */
const maxCompileShare = 0.05;

export class FlowLog {
  readonly #deps: FlowLogDeps;
  readonly #buffer: LineBuffer;
  readonly #gaps: Gaps;
  readonly #exhaustion = new Exhaustion();
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #compiled: { readonly desired: Desired; readonly objectOf: ObjectOf; readonly dueAtMs: number } | undefined;
  /** Of the objects that were removed lately: their flows end after them. */
  #earlier: ObjectOf | undefined;
  #lastReadMs: number | undefined;
  #lastWrittenMs: number | undefined;

  /** `undefined` if the log is off. */
  static create(deps: FlowLogDeps): FlowLog | undefined {
    return deps.settings.level === "off" ? undefined : new FlowLog(deps, sinkOf(deps));
  }

  constructor(deps: FlowLogDeps, sink: LineSink) {
    this.#deps = deps;
    const { wallMs, log } = deps;
    const complain = atMostOncePer(complaintPeriodMs, (err: unknown, times) =>
      log.warn({ err, times }, "flow log not written"),
    );
    this.#buffer = new LineBuffer({
      sink,
      onWritten: (lines) => {
        this.#lastWrittenMs = wallMs();
        deps.onWritten(lines);
      },
      onFailed: (lines, error) => {
        complain(error);
        this.#gaps.note("write", lines, this.#lastWrittenMs);
      },
    });
    this.#gaps = new Gaps({ add: (line) => this.#buffer.add(line), onLost: deps.onLost, wallMs });
  }

  start(): void {
    const { level } = this.#deps.settings;
    this.#running = this.#begin().then(() => (level === "errors" ? undefined : this.#watch()));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#gaps.write();
    await this.#buffer.stop();
  }

  /** Ports that run out, as a scan found them. */
  onScanned(census: Census): void {
    const time = isoTime(this.#deps.wallMs());
    for (const record of this.#exhaustion.recordsOf(census, time, this.#deps.family)) this.#add(record);
    this.#gaps.write();
  }

  /** Notes from when on nothing was logged. */
  async #begin(): Promise<void> {
    const { settings } = this.#deps;
    if (settings.output === "stdout" || settings.level === "errors") return;
    try {
      const last = (await listSegments(logDirectory(settings))).at(-1);
      const lastMs = last && (await stat(last.path)).mtimeMs;
      this.#gaps.note("stopped", 0, lastMs);
    } catch {
      this.#gaps.note("stopped", 0, undefined);
    }
  }

  async #watch(): Promise<void> {
    const { family, log, settings, wallMs, receiveBufferBytes } = this.#deps;
    const { refused, isAccounting } = await enableFlowEvents();
    if (Object.keys(refused).length > 0)
      log.warn({ refused }, "flow log: sysctls not set; starts of flows may be missing");
    if (isAccounting !== true)
      log.warn("flow log: bytes and packets are missing; set net.netfilter.nf_conntrack_acct=1");
    try {
      const events = openFlowEvents({
        family,
        withNew: settings.level === "all",
        beforeEvents: () => this.#beforeEvents(),
        onEvent: this.#onEvent,
        onLost: (reason, count) => this.#gaps.note(reason, count, this.#lastReadMs ?? wallMs()),
        onFailure: (err) => {
          this.#gaps.note("stopped", 0, this.#lastReadMs);
          log.error({ err }, "flow log stopped: no more events");
        },
        ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
      });
      await events.run(this.#stop.signal);
    } catch (err) {
      if (!(err instanceof GatewayError)) throw err;
      log.error({ err }, "flow log not started: no events");
    }
  }

  async #beforeEvents(): Promise<void> {
    await this.#compile();
    this.#gaps.write();
    this.#lastReadMs = this.#deps.wallMs();
  }

  async #compile(): Promise<void> {
    const desired = this.#deps.desired();
    const begunMs = performance.now();
    const known = this.#compiled;
    if (known !== undefined && (known.desired === desired || begunMs < known.dueAtMs)) return;
    const objectOf = await runYielding(compileObjects(desired, this.#deps.family));
    const endedMs = performance.now();
    this.#earlier = known?.objectOf;
    this.#compiled = { desired, objectOf, dueAtMs: endedMs + (endedMs - begunMs) / maxCompileShare };
  }

  readonly #objectOf: ObjectOf = (flow, side) =>
    this.#compiled?.objectOf(flow, side) ?? this.#earlier?.(flow, side);

  readonly #onEvent: FlowEventVisitor = (kind, entry, payload, start, end) => {
    const { view } = entry;
    if (view.zone !== 0 || (!isTranslated(view, "source") && !isTranslated(view, "destination"))) return;
    const { settings, family, wallMs } = this.#deps;
    if (settings.sample > 1 && entry.id % settings.sample !== 0) return;
    const event = kind === "new" ? "NAT44 session create" : "NAT44 session delete";
    const accounting = readAccounting(payload, start, end);
    this.#add(sessionRecord(view, event, accounting, wallMs(), family, this.#objectOf));
  };

  #add(record: Parameters<typeof encodeRecord>[0] | PortsRecord): void {
    if (!this.#buffer.add(encodeRecord(record))) this.#gaps.note("backlog", 1, this.#deps.wallMs());
  }
}

function sinkOf({ settings, wallMs }: FlowLogDeps): LineSink {
  return settings.output === "stdout"
    ? new StdoutSink()
    : new SegmentSink(logDirectory(settings), settings.maxBytes, wallMs);
}
