/** Creates the hub of events and what reports to it. */
import { firstSequence } from "../../lib/events/event-id.ts";
import type { Degradation } from "../../lib/model/degradation.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { Clock } from "../clock.ts";
import type { PassResult } from "../reconciler/pass/pass-result.ts";
import type { PassReport } from "../reconciler/pass/report.ts";
import type { StatusBoard } from "../status/board.ts";
import type { StateStore } from "../store/open-store.ts";
import { ConflictWatch } from "./conflict-watch.ts";
import { DegradedWatch } from "./degraded-watch.ts";
import { EventHub } from "./hub.ts";
import { PassEvents } from "./pass-events.ts";

export interface EventSources {
  readonly epoch: string;
  readonly clock: Pick<Clock, "bootMs" | "wallMs">;
  readonly store: Pick<StateStore, "current" | "onChange">;
  readonly board: Pick<StatusBoard, "view" | "usersByEip" | "onConditions" | "noteWrite">;
  /** The current reasons why the gateway is degraded. */
  readonly degradations: () => readonly Degradation[];
}

export interface Events {
  readonly hub: EventHub;
  onPass(result: PassResult, report: PassReport): void;
  onFailure(error: unknown): void;
  start(): void;
  stop(): void;
}

/** How often it is looked for what degrades the gateway besides passes. */
const degradedCheckMs = 5_000;

export function createEvents({ epoch, clock, store, board, degradations }: EventSources): Events {
  const hub = new EventHub({
    epoch,
    start: firstSequence(clock.bootMs()),
    desired: () => store.current.desired,
    usersByEip: (desired) => board.usersByEip(desired),
    nowMs: clock.bootMs,
    wallMs: clock.wallMs,
  });
  const conflicts = new ConflictWatch(hub, () => board.view());
  const passes = new PassEvents(hub);
  const degraded = new DegradedWatch(hub, degradations);
  board.onConditions((ids: readonly ObjectId[]) => {
    hub.onConditions(ids);
    hub.enqueue(conflicts.onConditions(ids));
  });
  store.onChange((state, changes) => {
    board.noteWrite(state, new Date(clock.wallMs()).toISOString());
    hub.onStored(changes);
  });
  let checks: NodeJS.Timeout | undefined;
  return {
    hub,
    onPass: (result, report) => {
      passes.onPass(result, report);
      degraded.look();
    },
    onFailure: (error) => {
      passes.onFailure(error);
      degraded.look();
    },
    start: () => {
      checks = setInterval(() => degraded.look(), degradedCheckMs).unref();
    },
    stop: () => {
      clearInterval(checks);
      hub.stop();
    },
  };
}
