/** Collects what the checks of `GET /v1/doctor` need. Reads the kernel afresh, writes nothing. */
import type { Chunked } from "../../lib/chunked.ts";
import { flowStatus } from "../../lib/conntrack/flow.ts";
import { type Check, diagnoseChunked } from "../../lib/doctor/doctor.ts";
import type { EipEvidence, Evidence, NotReadyObject } from "../../lib/doctor/evidence.ts";
import { GatewayError, undefinedIfUnreadable } from "../../lib/model/errors.ts";
import type { Family } from "../../lib/model/family.ts";
import { kinds, objectId } from "../../lib/model/names.ts";
import type { Plan } from "../../lib/plan/plan.ts";
import { objectsOf } from "../../lib/state/desired.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { readConntrackStats } from "../kernel/conntrack/stats.ts";
import type { ConntrackDriver, Dataplane } from "../kernel/drivers.ts";
import { isClockSynchronized, readDiskSpace, readToolVersions } from "../kernel/host.ts";
import type { Run } from "../kernel/run.ts";
import { SharedReading } from "../reconciler/operations/shared-reading.ts";
import type { Reconciler } from "../reconciler/reconciler.ts";
import { runYielding } from "../run-yielding.ts";
import type { StateStore } from "../store/open-store.ts";
import type { StatusBoard } from "./board.ts";
import { type DegradationSources, degradations } from "./degradations.ts";

export interface DoctorDeps {
  readonly family: Family;
  readonly config: Pick<Config, "vpcInterface" | "externalInterface" | "untranslated" | "stateDir">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly store: Pick<StateStore, "current" | "recovery" | "failure">;
  readonly board: Pick<StatusBoard, "view">;
  readonly reconciler: Pick<
    Reconciler,
    "result" | "failure" | "adoption" | "isUnadopted" | "inspect" | "heldEips"
  >;
  readonly conntrack: Pick<ConntrackDriver, "find">;
  readonly dataplane: { readonly driver: Pick<Dataplane["driver"], "backend"> };
  readonly flows: { nearlyFull(signal: AbortSignal): Promise<Evidence["ports"]> };
  readonly commands: Run;
  readonly api: () => { readonly degradations: DegradationSources["api"] };
}

export interface DoctorReport {
  /** RFC 3339. */
  readonly checkedAt: string;
  readonly checks: readonly Check[];
}

export interface Doctor {
  /** Requests at the same time share one examination. @throws `overloaded` */
  examine(signal: AbortSignal): Promise<DoctorReport>;
}

export function createDoctor(deps: DoctorDeps): Doctor {
  const shared = new SharedReading({
    read: async (signal): Promise<DoctorReport> => {
      const checkedAt = new Date(deps.clock.wallMs()).toISOString();
      return { checkedAt, checks: await runYielding(diagnoseChunked(await gather(deps, signal))) };
    },
  });
  return { examine: (signal) => shared.get(signal) };
}

async function gather(deps: DoctorDeps, signal: AbortSignal): Promise<Evidence> {
  const { config, store, board, reconciler, dataplane, commands, clock } = deps;
  const plan = await inspect(reconciler, signal);
  const { result, isUnadopted } = reconciler;
  const failure = plan instanceof GatewayError ? plan : reconciler.failure;
  const now = result === undefined || plan instanceof GatewayError ? result : { ...result, planAfter: plan };
  const { adoption } = reconciler;
  const { backend } = dataplane.driver;
  const notReady = await runYielding(notReadyIn(board.view()));
  return {
    interfaces: { vpc: config.vpcInterface, external: config.externalInterface },
    degraded: degradations({
      api: deps.api().degradations,
      store,
      reconciler: { result: now, failure, adoption },
    }),
    notReady,
    objectCount: kinds.reduce((sum, kind) => sum + objectsOf(store.current.desired, kind).size, 0),
    pending:
      isUnadopted || plan instanceof GatewayError
        ? []
        : plan.changes.slice(0, maxPending).map(({ text }) => text),
    isGateKept: config.untranslated === "drop",
    eips: await reachedFromOutside(deps, signal),
    ports: await deps.flows.nearlyFull(signal).catch(undefinedIfUnreadable),
    conntrack: (await readConntrackStats(signal).catch(undefinedIfUnreadable)) ?? unknownCounts,
    clock: { wallMs: clock.wallMs(), isSynchronized: isClockSynchronized() },
    disk: await readDiskSpace(config.stateDir),
    tools: await readToolVersions(backend, commands, signal),
  };
}

const maxPending = 20;

const unknownCounts: Evidence["conntrack"] = { count: undefined, max: undefined };

/** What a pass would do now, or why none can run. */
async function inspect(
  reconciler: DoctorDeps["reconciler"],
  signal: AbortSignal,
): Promise<Plan | GatewayError> {
  try {
    return await reconciler.inspect(signal);
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
}

/** Takes a few milliseconds. */
const lookedAtOnce = 2_000;
/** More are counted nowhere: the message says that there are thousands. */
const maxNotReady = 10_000;

function* notReadyIn(view: ReturnType<StatusBoard["view"]>): Chunked<readonly NotReadyObject[]> {
  yield* view.prepare();
  const found: NotReadyObject[] = [];
  let seen = 0;
  for (const kind of kinds)
    for (const name of objectsOf(view.state.desired, kind).keys()) {
      if (++seen % lookedAtOnce === 0) yield;
      const id = objectId(kind, name);
      if (view.isObjectReady(id)) continue;
      const ready = view.statusOf(id).conditions.find(({ type }) => type === "Ready");
      if (ready !== undefined) found.push({ id, reason: ready.reason, message: ready.message });
      if (found.length === maxNotReady) return found;
    }
  return found;
}

/** The EIPs that received packets from outside: conntrack has a flow that was started or answered from there. */
async function reachedFromOutside(
  { reconciler, conntrack, family }: DoctorDeps,
  signal: AbortSignal,
): Promise<EipEvidence> {
  const { keyOf, toValue } = family;
  const held = new Set(Array.from(reconciler.heldEips.keys(), (eip) => keyOf(toValue(eip))));
  if (held.size === 0) return { held: 0, heard: 0 };
  const heard = new Set<unknown>();
  await conntrack.find(
    ({ originalDestination, replyDestination, status }) => {
      // A hairpin has the EIP on both sides and never was outside.
      if (originalDestination === replyDestination || (status & flowStatus.dying) !== 0) return false;
      const [begun, answered] = [keyOf(originalDestination), keyOf(replyDestination)];
      if (held.has(begun)) heard.add(begun);
      if ((status & seenReply) !== 0 && held.has(answered)) heard.add(answered);
      return false;
    },
    0,
    signal,
  );
  return { held: held.size, heard: heard.size };
}

/** IPS_SEEN_REPLY of nf_conntrack_common.h. */
const seenReply = 1 << 1;
