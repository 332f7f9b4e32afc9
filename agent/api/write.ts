/**
 * The common path of all writes: decide on the newest state, make it durable, wake the reconciler, wait as requested,
 * answer. 2xx means stored. 200 means that the kernel has it already, 202 that it does not yet.
 */

import { createHash } from "node:crypto";
import type { FastifyReply } from "fastify";
import type { Decision, WriteContext } from "../../lib/admission/writes.ts";
import type { Chunked } from "../../lib/chunked.ts";
import { connectedSubnets } from "../../lib/kinds/facts.ts";
import { memoizeLast } from "../../lib/memoize.ts";
import { reduceChunked } from "../../lib/state/reduce.ts";
import type { State } from "../../lib/state/state.ts";
import type { WaitOutcome } from "../status/waiting.ts";
import type { RouteContext } from "./deps.ts";
import { maxListed, writeDocument } from "./documents.ts";
import { etagOf } from "./etag.ts";
import { isAdoptionDecided } from "./first-pass.ts";
import { flowDocument } from "./flow-document.ts";
import type { WaitGoals } from "./ports.ts";
import { parseFlag, parseWait, type WriteQuery } from "./query.ts";
import { requestSignal } from "./request-signal.ts";

const previewDeadlineMs = 30_000;
/** Added to the requested wait as a safety limit: normally the board answers first. */
const waitSlackMs = 5_000;

export type Decide = (state: State, context: WriteContext) => Chunked<Decision>;

export interface Written {
  /** The state after this write. */
  readonly state: State;
  /** The state before it. */
  readonly before: State;
  readonly decision: Decision;
  readonly outcome: WaitOutcome;
  readonly isWaiting: boolean;
}

/** How a write is answered. */
export interface Answering {
  /** What was written, as it is in `state`. A dry run has it too, with the objects' present statuses. */
  readonly document: (state: State, decision: Decision) => object | Promise<object>;
  /** In place of that document: sends the response for a write that was stored. */
  readonly send?: (written: Written) => FastifyReply;
}

/** Performs a write. */
export async function write(
  context: RouteContext,
  reply: FastifyReply,
  query: WriteQuery,
  decide: Decide,
  { document, send }: Answering,
): Promise<FastifyReply> {
  const waitMs = parseWait(query.wait);
  if (parseFlag(query.dryRun) === true) return preview(context, reply, decide, document);
  const { state, before, decision } = await store(context, reply, decide);
  void reply.header("etag", etagOf(state.desired.revision));
  if (decision.refusal !== undefined) throw decision.refusal;
  const { touched, removed } = decision;
  const goals = { ready: touched, gone: removed, revision: state.desired.revision };
  const outcome = await waitFor(context, reply, goals, waitMs ?? 0);
  const written: Written = { state, before, decision, outcome, isWaiting: waitMs !== undefined };
  if (send !== undefined) return send(written);
  return reply.code(statusCodeOf(written)).send(await document(state, decision));
}

/** The answer to a write of many objects: how many are Ready, and which are not. */
export function answerOfMany({ answers, board }: RouteContext): Answering {
  return {
    document: (state, { touched }) => answers.turns.run(writeDocument(state, touched, board.view())),
  };
}

/** Stores the result of `decide`, and ensures that a pass handles it. */
export async function store<D extends Decision>(
  context: RouteContext,
  reply: FastifyReply,
  decide: (state: State, context: WriteContext) => Chunked<D>,
): Promise<{ readonly state: State; readonly before: State; readonly decision: D }> {
  const isDecided = await isAdoptionDecided(context);
  const { state, result } = await context.state.transact(function* (before) {
    const { isUnadopted, ...given } = writeContext(context);
    const isUndecided = !before.isSet && !isDecided;
    const decision = yield* decide(before, { ...given, isUnadopted: isUnadopted || isUndecided });
    return { changes: decision.changes, result: { before, decision } };
  });
  const { touched, removed } = result.decision;
  const counts = { written: touched.length, removed: removed.length };
  context.trail.note(reply, { before: result.before.desired, after: state.desired, ...counts });
  // A lease renewal raises no revision: there is nothing to do.
  if (result.decision.changes.some(({ type }) => type === "revision")) context.reconciler.wake("write");
  return { state, ...result };
}

/** 200 if nothing is left to do. A replay is nothing to do, unless its caller waits for Ready. */
function statusCodeOf({ decision, outcome, isWaiting }: Written): 200 | 202 {
  return outcome === "done" || (decision.isReplay && !isWaiting) ? 200 : 202;
}

async function preview(
  context: RouteContext,
  reply: FastifyReply,
  decide: Decide,
  document: Answering["document"],
): Promise<FastifyReply> {
  await context.answers.reserve(reply);
  const { current } = context.state;
  const { turns } = context.answers;
  const decision = await turns.run(decide(current, writeContext(context)));
  if (decision.refusal !== undefined) throw decision.refusal;
  const next = await turns.run(reduceChunked(current, decision.changes));
  const signal = requestSignal(reply, context.stopping, previewDeadlineMs);
  const { changes, changesTotal, flows } = await context.reconciler.preview(next, signal);
  return reply
    .code(200)
    .header("etag", etagOf(current.desired.revision))
    .send({
      ...(await document(next, decision)),
      changes,
      changesTotal,
      flows: { total: flows.total, items: flows.items.slice(0, maxListed).map(flowDocument) },
    });
}

/** Waits until the kernel has what was written. */
export async function waitFor(
  context: RouteContext,
  reply: FastifyReply,
  goals: WaitGoals,
  waitMs: number,
): Promise<WaitOutcome> {
  const signal = requestSignal(reply, context.stopping, waitMs + waitSlackMs);
  if (signal.aborted) return "stopping";
  const wanted = [...(goals.ready ?? []), ...(goals.programmed ?? [])];
  // Until the probe has a result, an address that another host held is not a final conflict.
  const leftMs = await context.reconciler.probeFor(wanted, waitMs, signal);
  return context.board.wait(goals, leftMs, signal);
}

const subnetsOf = memoizeLast(connectedSubnets);

/** Created for each decision: observed facts may change while the write waits in the queue. */
function writeContext({ clock, reconciler, settings }: RouteContext): WriteContext {
  const { network, ownAddresses } = reconciler;
  return {
    now: clock.now(),
    facts: {
      vpcInterface: settings.vpcInterface,
      externalInterface: settings.externalInterface,
      ownAddresses,
      fallbackGateway: settings.fallbackGateway,
      connectedSubnets: network && subnetsOf(network, ownAddresses),
    },
    isUnadopted: reconciler.isUnadopted,
    digest: sha256,
  };
}

/** In hexadecimal. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
