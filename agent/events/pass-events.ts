/** The events of a pass: that it ran, which drift it found, and what it repaired. */
import type { Occurrence } from "../../lib/events/event-types.ts";
import type { Change } from "../../lib/model/change.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { PassResult } from "../reconciler/pass/pass-result.ts";
import type { PassReport } from "../reconciler/pass/report.ts";
import { keyOf } from "../reconciler/retry/repair-throttle.ts";
import type { EventHub } from "./hub.ts";

/** Changes that an event lists. All are counted. */
const maxListed = 20;
/** Objects by which an event can be found. */
const maxAbout = 1_000;

export class PassEvents {
  readonly #hub: Pick<EventHub, "report">;
  /** The repairs that waited at the last pass. */
  #throttled: ReadonlySet<string> = new Set();

  constructor(hub: Pick<EventHub, "report">) {
    this.#hub = hub;
  }

  onPass(
    { repairs, throttled, isClean, state, failures }: PickedResult,
    { startedAt, took, reasons, changed, flowsRemoved }: PassReport,
  ): void {
    const waiting = throttled.map(({ change }) => change);
    const keys = new Set(waiting.map(keyOf));
    if (repairs.length > 0 || !keys.isSubsetOf(this.#throttled)) {
      const found = repairs.concat(waiting);
      this.#hub.report("drift", { ...listed(found), delayed: waiting.length }, aboutOf(found));
    }
    this.#throttled = keys;
    if (repairs.length > 0) this.#hub.report("repair", listed(repairs), aboutOf(repairs));
    const { generation } = state.desired;
    const failed = failures.length;
    const facts = { generation, startedAt, took, reasons, changed, failed, flowsRemoved };
    this.#hub.report("pass", { revision: state.desired.revision, ...facts, converged: isClean });
  }

  /** A pass could not run. */
  onFailure(error: unknown): void {
    const code = error instanceof GatewayError ? error.code : "internal";
    const message = error instanceof Error ? error.message : String(error);
    this.#hub.report("pass", { converged: false, error: { code, message } });
  }
}

type PickedResult = Pick<PassResult, "repairs" | "throttled" | "isClean" | "state" | "failures">;

function listed(changes: readonly Change[]) {
  return { total: changes.length, changes: changes.slice(0, maxListed) };
}

function aboutOf(changes: readonly Change[]): Occurrence["about"] {
  const about = new Set<ObjectId>();
  for (const { object } of changes) {
    if (object !== undefined) about.add(object);
    if (about.size > maxAbout) return "many";
  }
  return about;
}
