/** `natgwctl wait`: until an object, or all of a kind, is Ready or gone. */
import { setTimeout as sleep } from "node:timers/promises";
import { counted } from "../../../lib/text/quantities.ts";
import { type Cell, lines } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseDuration, parsePossibleReference } from "../arguments.ts";
import type { Context } from "../context.ts";
import type { ObjectDocument, ObjectList } from "../documents.ts";
import { RefusedFailure, UnavailableFailure } from "../failures.ts";
import { idOf, readyCondition } from "../objects.ts";
import { pathOf } from "./get.ts";

export interface WaitOptions {
  readonly for: "ready" | "deleted";
  readonly timeout: string;
}

const firstPauseMs = 100;
const longestPauseMs = 1_000;

/** What is still missing. */
type Look = () => Promise<readonly ObjectDocument[]>;

export async function wait(
  { api, nowMs, terminal }: Context,
  kind: string,
  name: string | undefined,
  { for: goal, timeout }: WaitOptions,
): Promise<Answer> {
  const { collection, name: found } = parsePossibleReference(kind, name);
  const what = found === undefined ? collection : `${collection}/${found}`;
  const deadlineMs = nowMs() + parseDuration(timeout, "--timeout");
  const look: Look = async () => {
    if (found === undefined) {
      const query = goal === "ready" ? { query: { ready: false } } : {};
      return (await api.get<ObjectList>(`/v1/${collection}`, query)).items;
    }
    try {
      const object = await api.get<ObjectDocument>(pathOf(collection, found));
      return goal === "ready" && object.status.ready ? [] : [object];
    } catch (error) {
      // What does not exist is deleted, and may still become Ready: whoever waits may be ahead of who creates it.
      if (!(error instanceof RefusedFailure) || error.status !== 404) throw error;
      return goal === "deleted" ? [] : [missing];
    }
  };
  let left: readonly ObjectDocument[] | undefined;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
    try {
      left = await look();
    } catch (error) {
      // An agent that was there may be starting again.
      if (left === undefined || !(error instanceof UnavailableFailure) || nowMs() >= deadlineMs) throw error;
    }
    if (left.length === 0) return outcome(what, goal, []);
    const restMs = deadlineMs - nowMs();
    if (restMs <= 0) return outcome(what, goal, left);
    terminal.progress(`${what}: waiting for ${counted(left.length, "object")}`);
    await sleep(Math.min(pauseMs, restMs));
  }
}

const missing: ObjectDocument = {
  kind: "",
  name: "",
  spec: {},
  revision: 0,
  status: { ready: false, observedRevision: 0, epoch: "", conditions: [] },
};

function outcome(what: string, goal: WaitOptions["for"], left: readonly ObjectDocument[]): Answer {
  const done = goal === "ready" ? "Ready" : "deleted";
  const waiting = left.map((object) => ({
    object: object === missing ? what : idOf(object),
    message: object === missing ? "does not exist" : messageOf(object, goal),
  }));
  return {
    data: { what, for: goal, reached: left.length === 0, waiting },
    names: left.length === 0 ? [what] : waiting.map(({ object }) => object),
    sections: () => [
      {
        block: lines(
          left.length === 0
            ? { text: `${what}: ${done}`, style: "good" }
            : { text: `${what}: not ${done} in time`, style: "bad" },
          ...waiting.slice(0, 20).map(({ object, message }): Cell => `  ${object}: ${message}`),
          ...(waiting.length > 20 ? [`  and ${counted(waiting.length - 20, "more object")}`] : []),
        ),
      },
    ],
    exitCode: left.length === 0 ? 0 : 1,
  };
}

function messageOf(object: ObjectDocument, goal: WaitOptions["for"]): string {
  if (goal === "deleted") return "exists";
  const { reason = "Unknown", message = "" } = readyCondition(object) ?? {};
  return message === "" ? reason : `${reason}: ${message}`;
}
