/** Counts what the log lost, and says it in the log itself as soon as there is room. */
import { encodeRecord, type GapReason, isoTime } from "../../lib/flow-log/records.ts";

interface Gap {
  readonly sinceMs: number | undefined;
  records: number;
}

export interface GapsDeps {
  readonly add: (line: string) => boolean;
  readonly onLost: (reason: GapReason, records: number) => void;
  readonly wallMs: () => number;
}

export class Gaps {
  readonly #deps: GapsDeps;
  readonly #open = new Map<GapReason, Gap>();

  constructor(deps: GapsDeps) {
    this.#deps = deps;
  }

  /** @param sinceMs nothing before was lost: Unix time in ms */
  note(reason: GapReason, records: number, sinceMs: number | undefined): void {
    this.#deps.onLost(reason, records);
    const known = this.#open.get(reason);
    if (known === undefined) this.#open.set(reason, { sinceMs, records });
    else known.records += records;
  }

  /** Writes a record for each gap since the last call. */
  write(): void {
    const { add, wallMs } = this.#deps;
    for (const [reason, { sinceMs, records }] of this.#open) {
      const line = encodeRecord({
        time: isoTime(wallMs()),
        event: "log gap",
        reason,
        ...(sinceMs !== undefined && { since: isoTime(sinceMs) }),
        ...(records > 0 && { records }),
      });
      if (!add(line)) return;
      this.#open.delete(reason);
    }
  }
}
