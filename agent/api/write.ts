/**
 * The one way of every write: decide on the newest state, make it durable, wake the reconciler, wait as long as the
 * caller asks, answer. A 2xx says that it is stored; 200 and 202 tell whether it is in the kernel already.
 */

import { createHash } from "node:crypto";
import type { FastifyReply } from "fastify";
import type { Decision, WriteContext } from "../../lib/admission/writes.ts";
import { connectedSubnets } from "../../lib/kinds/facts.ts";
import { reduce } from "../../lib/state/reduce.ts";
import type { State } from "../../lib/state/state.ts";
import type { WaitOutcome } from "../status/waiting.ts";
import type { RouteContext } from "./deps.ts";
import { maxListed, writeDocument } from "./documents.ts";
import { etagOf } from "./etag.ts";
import { flowDocument } from "./flow-document.ts";
import { parseFlag, parseWait, type WriteQuery } from "./query.ts";
import { requestSignal } from "./request-signal.ts";

const previewDeadlineMs = 30_000;
/** Beyond what the caller asked to wait for: the board answers by itself, this is the seat belt. */
const waitSlackMs = 5_000;

export type Decide = (state: State, context: WriteContext) => Decision;

export interface Written {
  /** The state as this write left it. */
  readonly state: State;
  /** As it was before. */
  readonly before: State;
  readonly decision: Decision;
  readonly outcome: WaitOutcome;
  readonly isWaiting: boolean;
}

/** Performs a write; `answer` sends the response to one that was stored. */
export async function write(
  context: RouteContext,
  reply: FastifyReply,
  query: WriteQuery,
  decide: Decide,
  answer: (written: Written) => FastifyReply | Promise<FastifyReply>,
): Promise<FastifyReply> {
  const waitMs = parseWait(query.wait);
  if (parseFlag(query.dryRun) === true) return preview(context, reply, decide);
  const written = await store(context, decide);
  const { state, before, decision } = written;
  void reply.header("etag", etagOf(state.desired.revision));
  if (decision.refusal !== undefined) throw decision.refusal;
  const outcome = await waitFor(context, reply, state, decision, waitMs ?? 0);
  return answer({ state, before, decision, outcome, isWaiting: waitMs !== undefined });
}

/** Answers a write of many objects: how many are Ready, and which are not. */
export async function sendWritten(
  { answers, board }: RouteContext,
  reply: FastifyReply,
  written: Written,
): Promise<FastifyReply> {
  const { state, decision } = written;
  const document = await answers.turns.run(writeDocument(state, decision.touched, board.view()));
  return reply.code(statusCodeOf(written)).send(document);
}

/** Stores what `decide` comes to, and sees to it that a pass looks at it. */
export async function store(
  context: RouteContext,
  decide: Decide,
): Promise<{ readonly state: State; readonly before: State; readonly decision: Decision }> {
  const { state, result } = await context.state.transact((before) => {
    const decision = decide(before, writeContext(context));
    return { changes: decision.changes, result: { before, decision } };
  });
  // The heartbeat of a lease raises no revision: it leaves nothing to do.
  if (result.decision.changes.some(({ type }) => type === "revision")) context.reconciler.wake("write");
  return { state, ...result };
}

/** 200 where nothing is left to do; a replay is nothing to do unless its caller wants to see it Ready. */
export function statusCodeOf({ decision, outcome, isWaiting }: Written): 200 | 202 {
  return outcome === "done" || (decision.isReplay && !isWaiting) ? 200 : 202;
}

async function preview(context: RouteContext, reply: FastifyReply, decide: Decide): Promise<FastifyReply> {
  await context.answers.reserve(reply);
  const { current } = context.state;
  const decision = decide(current, writeContext(context));
  if (decision.refusal !== undefined) throw decision.refusal;
  const signal = requestSignal(reply, context.stopping, previewDeadlineMs);
  const { changes, changesTotal, flows } = await context.reconciler.preview(
    reduce(current, decision.changes),
    signal,
  );
  return reply
    .code(200)
    .header("etag", etagOf(current.desired.revision))
    .send({
      changes,
      changesTotal,
      flows: { total: flows.total, items: flows.items.slice(0, maxListed).map(flowDocument) },
    });
}

async function waitFor(
  context: RouteContext,
  reply: FastifyReply,
  state: State,
  { touched, removed }: Decision,
  waitMs: number,
): Promise<WaitOutcome> {
  const signal = requestSignal(reply, context.stopping, waitMs + waitSlackMs);
  if (signal.aborted) return "stopping";
  const goals = { ready: touched, gone: removed, revision: state.desired.revision };
  // Until the wire has answered, an address that another station held is no settled conflict.
  const leftMs = await context.reconciler.askAgain(touched, waitMs, signal);
  return context.board.wait(goals, leftMs, signal);
}

/** Made anew for each decision: what was observed may have changed while the write stood in line. */
function writeContext({ clock, reconciler, settings }: RouteContext): WriteContext {
  const { network, ownAddresses } = reconciler;
  return {
    now: clock.now(),
    facts: {
      vpcInterface: settings.vpcInterface,
      externalInterface: settings.externalInterface,
      ownAddresses,
      fallbackGateway: settings.fallbackGateway,
      connectedSubnets: network && connectedSubnets(network, ownAddresses),
    },
    isUnadopted: reconciler.isUnadopted,
    digest: sha256,
  };
}

/** In hex. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
