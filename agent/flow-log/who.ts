/** Who had a port of an EIP: live flows first, then the log. */

import { type GapReason, isoTime, sessionRecord } from "../../lib/flow-log/records.ts";
import { compileObjects, isTranslated } from "../../lib/flow-log/translation.ts";
import { type WhoItem, type WhoQuery, whoIn } from "../../lib/flow-log/who.ts";
import type { Family } from "../../lib/model/family.ts";
import { readAccounting } from "../../lib/netlink/ctnetlink-accounting.ts";
import type { Desired } from "../../lib/state/desired.ts";
import type { FlowScan } from "../kernel/conntrack/scan.ts";
import { Mutex } from "../mutex.ts";
import { runYielding } from "../run-yielding.ts";
import { type FlowLogSettings, logDirectory } from "./flow-log.ts";
import { type LogSearch, searchLog, searchLostEnds } from "./search.ts";

export interface WhoReport {
  /** Live flows, then those of the log, the last ended first. At most 100 of each. */
  readonly items: readonly WhoItem[];
  /** True if nobody else can have had the port: every flow of that time is known. */
  readonly complete: boolean;
  readonly log: {
    /** The setting `NATGW_FLOW_LOG`. */
    readonly level: FlowLogSettings["level"];
    /** Where the log on disk begins. Null: there is none. */
    readonly from: string | null;
    /** What it lost since the time asked for. At most 100. */
    readonly gaps: readonly {
      readonly since: string | null;
      readonly until: string;
      readonly reason: GapReason;
      readonly records: number | null;
    }[];
  };
}

export interface WhoDeps {
  readonly family: Family;
  readonly desired: () => Desired;
  readonly scan: FlowScan;
  readonly settings: FlowLogSettings;
  readonly wallMs: () => number;
}

const maxItems = 100;

interface LiveFlows {
  readonly items: readonly WhoItem[];
  /** True if there are more. */
  readonly isCut: boolean;
}

export class Who {
  readonly #deps: WhoDeps;
  /** A search may read all of the log: one at a time. */
  readonly #searches = new Mutex();

  constructor(deps: WhoDeps) {
    this.#deps = deps;
  }

  async ask(query: WhoQuery, signal: AbortSignal): Promise<WhoReport> {
    const { settings, wallMs } = this.#deps;
    const live = await this.#live(query, signal);
    const found = await this.#searches.run(() => this.#logged(query, live, signal));
    const { logFromMs, gaps } = found;
    const isLogging =
      (settings.level === "translations" || settings.level === "all") &&
      settings.output === "disk" &&
      settings.sample === 1;
    const { atMs = Number.POSITIVE_INFINITY } = query;
    const isCovered = logFromMs !== undefined && logFromMs <= atMs && atMs <= wallMs();
    return {
      items: [...live.items, ...found.items.toReversed()],
      complete: isLogging && isCovered && gaps.length === 0 && !found.isCut && !live.isCut,
      log: {
        level: settings.level,
        from: logFromMs === undefined ? null : isoTime(logFromMs),
        gaps: gaps.map(({ since = null, time, reason, records = null }) => ({
          since,
          until: time,
          reason,
          records,
        })),
      },
    };
  }

  async #logged(query: WhoQuery, live: LiveFlows, signal: AbortSignal): Promise<LogSearch> {
    const directory = logDirectory(this.#deps.settings);
    const found = await searchLog(directory, query, maxItems, signal);
    // If not all living flows are known, one that lives would be taken for one whose end was lost.
    if (query.atMs === undefined || found.gaps.length === 0 || live.isCut) return found;
    const lost = await searchLostEnds(directory, query, live.items, signal);
    return { ...found, items: [...lost, ...found.items].slice(-maxItems) };
  }

  async #live(query: WhoQuery, signal: AbortSignal): Promise<LiveFlows> {
    const { family, desired, scan, wallMs } = this.#deps;
    const { eip, port } = query;
    const address = family.toValue(eip);
    const objectOf = await runYielding(compileObjects(desired(), family));
    const items: WhoItem[] = [];
    let isCut = false;
    await scan(
      [eip],
      ({ view }, payload, start, end) => {
        const isIt =
          (view.replyDestination === address && view.replyDestinationPort === port) ||
          (view.originalDestination === address && view.originalDestinationPort === port);
        if (!isIt || view.zone !== 0) return;
        if (!isTranslated(view, "source") && !isTranslated(view, "destination")) return;
        const accounting = readAccounting(payload, start, end);
        const record = sessionRecord(view, "NAT44 session create", accounting, wallMs(), family, objectOf);
        for (const item of whoIn(record, query)) {
          if (items.length < maxItems) items.push(item);
          else isCut = true;
        }
      },
      signal,
    );
    return { items, isCut };
  }
}
