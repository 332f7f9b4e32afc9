/**
 * One pass: observe, plan, apply, verify. The order of its stages is a contract with the kernel:
 *
 * 1. The ledger is written before the kernel is.
 * 2. Gate and rules come before addresses: an address whose rules come later lets the gateway's own stack reset live
 *    connections. Forwarding is switched on after the gate is in place.
 * 3. Flows are ended after the rules commit, or they would be made anew by the old rules.
 * 4. Addresses go last.
 * 5. What was written is read back; only that reading says what is Ready. The gate opens after it.
 */
import { expiredLeases, nextExpiryMs } from "../../lib/admission/leases.ts";
import { ledgerKey, type State } from "../../lib/admission/state.ts";
import { compileContradicts } from "../../lib/conntrack/permits.ts";
import { objectsOf } from "../../lib/model/desired.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { type ObjectId, parseObjectId } from "../../lib/model/names.ts";
import type { Verdict } from "../../lib/model/status.ts";
import type { AddressStep } from "../../lib/plan/addresses.ts";
import type { Change } from "../../lib/plan/change.ts";
import { judge } from "../../lib/plan/judge.ts";
import type { RouteStep } from "../../lib/plan/routes.ts";
import type { SysctlStep } from "../../lib/plan/sysctls.ts";
import type { StatePort } from "../api/ports.ts";
import type { Clock } from "../clock.ts";
import type {
  Announcer,
  ConntrackDriver,
  Dataplane,
  GateState,
  NetworkDriver,
  StepFailure,
} from "../kernel/seams.ts";
import { gatherEvidence, type Refusal } from "./evidence.ts";
import { FlowSweep, type SweepResult } from "./flow-sweep.ts";
import { isolate } from "./isolate.ts";
import { beginEpoch, strikeOff, writeAhead } from "./ledger-keeper.ts";
import type { PassRequest } from "./loop.ts";
import { type Circumstances, type Frame, lookAhead, type Outlook, type Seen } from "./outlook.ts";
import type { Prober } from "./prober.ts";
import { Setbacks } from "./setbacks.ts";

export interface PassParts {
  readonly store: StatePort;
  readonly dataplane: Dataplane;
  readonly network: NetworkDriver;
  readonly conntrack: ConntrackDriver;
  readonly announcer: Announcer;
  readonly prober: Prober;
  readonly clock: Clock;
  readonly epoch: string;
  readonly frame: Frame;
}

export interface PassFindings {
  readonly state: State;
  readonly seen: Seen;
  /** What planning on the last reading still asks for; empty changes are a converged gateway. */
  readonly residual: Outlook;
  /** `undefined` where nothing may be said: live state was not adopted yet. */
  readonly verdicts: ReadonlyMap<ObjectId, Verdict> | undefined;
  readonly changes: readonly Change[];
  readonly refusals: readonly Refusal[];
  readonly sweep: SweepResult | undefined;
  readonly gate: GateState;
  readonly isClean: boolean;
  /** True where the changes repaired what somebody else broke: nothing was asked for since the last clean pass. */
  readonly isDrift: boolean;
  readonly dueInMs: number | undefined;
}

const firstRetryMs = 500;
const longestRetryMs = 30_000;

export class Pass {
  readonly #parts: PassParts;
  readonly #sweep: FlowSweep;
  readonly #quarantine = new Setbacks<ObjectId>();
  /** The revision at which each quarantined object was refused: a newer one deserves a new trial at once. */
  readonly #refusedAt = new Map<ObjectId, number>();
  /** What is asked of the gate; `undefined` until the first reading has told whether the namespace is fresh. */
  #gate: GateState | undefined;
  /** Names what the last clean pass was made from. */
  #cleanVersion = "";
  #uncleanPasses = 0;
  #isFirst = true;

  constructor(parts: PassParts) {
    this.#parts = parts;
    this.#sweep = new FlowSweep(parts.conntrack);
  }

  async observe(signal: AbortSignal): Promise<Seen> {
    const { network, dataplane } = this.#parts;
    const [links, rules] = await Promise.all([network.observe(signal), dataplane.observe(signal)]);
    return { network: links, rules };
  }

  /** What a pass over `seen` would do for `state`, under what is known now. Asks nobody, changes nothing. */
  foresee(state: State, seen: Seen): Outlook {
    const { dataplane, frame } = this.#parts;
    return lookAhead(dataplane, frame, this.#withLedger(state), seen, this.#circumstances(state, seen));
  }

  /** True where the store says nothing and the kernel holds rules: whoever put them there still relies on them. */
  isUnadopted(state: State, seen: Seen): boolean {
    return !state.isSet && this.#parts.dataplane.holdsRules(seen.rules);
  }

  async run(request: PassRequest, signal: AbortSignal): Promise<PassFindings> {
    const { store, epoch } = this.#parts;
    const state = store.current;
    const before = await this.observe(signal);
    if (this.isUnadopted(state, before)) return this.#leaveAlone(state, before);

    const refusals: Refusal[] = [];
    await beginEpoch(store, epoch).catch((error: unknown) => refusals.push(ledgerRefusal(error)));
    this.#releaseRewritten(state);
    const outlook = this.#plan(state, before);
    const changes: Change[] = [...outlook.changes];
    const version = this.#version(state, outlook);
    const isDrift = changes.length > 0 && version === this.#cleanVersion;

    await this.#apply(state, before, outlook, refusals, signal);
    const mustSweep = request.isFull || this.#isFirst || changes.length > 0 || version !== this.#cleanVersion;
    const sweep = mustSweep ? await this.#sweepFlows(outlook, before, version, refusals, signal) : undefined;
    await this.#removeAddresses(outlook, refusals, signal);

    let after = changes.length > 0 ? await this.observe(signal) : before;
    let residual = this.foresee(state, after);
    if (this.#mayOpenGate(residual)) {
      const opening = await this.#openGate(state, after, residual, signal);
      changes.push(...opening.changes);
      after = opening.seen;
      residual = this.foresee(state, after);
    }
    return this.#conclude({ state, before, after, residual, changes, refusals, sweep, version, isDrift });
  }

  /** Plans with what the wire says of addresses to come; asks it about those that nobody asked about yet. */
  #plan(state: State, seen: Seen): Outlook {
    const { dataplane, frame, prober } = this.#parts;
    this.#gate ??= dataplane.isGateClosed(seen.rules) || dataplane.isPristine(seen.rules) ? "closed" : "open";
    const known = this.#withLedger(state);
    const unprobed = {
      ...this.#circumstances(state, seen),
      probing: new Set<never>(),
      addressConflicts: new Map(),
    };
    const hopeful = lookAhead(dataplane, frame, known, seen, unprobed);
    // What the ledger names was held in this epoch already: an address that somebody took away comes back at once.
    const newcomers = hopeful.addresses.add.filter(
      ({ entry }) => !known.ledger.addresses.has(ledgerKey(entry)),
    );
    const prospects = prober.review(newcomers.map(({ entry }) => entry));
    if (prospects.probing.size === 0 && prospects.addressConflicts.size === 0) return hopeful;
    return lookAhead(dataplane, frame, known, seen, { ...unprobed, ...prospects });
  }

  async #apply(
    state: State,
    before: Seen,
    outlook: Outlook,
    refusals: Refusal[],
    signal: AbortSignal,
  ): Promise<void> {
    const { store, dataplane, network } = this.#parts;
    // A full disk must not keep working NAT from being repaired: what could not be written down is told instead.
    await writeAhead(store, outlook, dataplane.eipsIn(before.rules)).catch((error: unknown) =>
      refusals.push(ledgerRefusal(error)),
    );
    if (outlook.rules.changes.length > 0) await this.#applyRules(state, outlook, refusals, signal);
    const { sysctls, addresses, routes } = outlook;
    if (sysctls.length > 0) report("sysctl", await network.applySysctls(sysctls, signal), refusals);
    if (addresses.add.length > 0)
      report("addresses", await network.applyAddresses(addresses.add, signal), refusals);
    if (routes.steps.length > 0) report("routes", await network.applyRoutes(routes.steps, signal), refusals);
  }

  async #removeAddresses({ addresses }: Outlook, refusals: Refusal[], signal: AbortSignal): Promise<void> {
    if (addresses.remove.length === 0) return;
    report("addresses", await this.#parts.network.applyAddresses(addresses.remove, signal), refusals);
  }

  /** One transaction a table; where the kernel refuses it, as many as it takes to tell who is at fault. */
  async #applyRules(state: State, outlook: Outlook, refusals: Refusal[], signal: AbortSignal): Promise<void> {
    const { dataplane } = this.#parts;
    const words = await refusalOf(() => dataplane.apply(outlook.rules, signal));
    if (words === undefined) return;
    const candidates = new Set<ObjectId>();
    for (const { object, action } of outlook.rules.changes) {
      if (object !== undefined && action !== "remove") candidates.add(object);
    }
    const culprits = await isolate([...candidates], words, async (without) => {
      const seen = await this.observe(signal);
      const circumstances = this.#circumstances(state, seen);
      const quarantined = new Map(circumstances.quarantined);
      for (const id of without) quarantined.set(id, "");
      const { rules } = lookAhead(dataplane, this.#parts.frame, this.#withLedger(state), seen, {
        ...circumstances,
        quarantined,
      });
      return rules.changes.length === 0 ? undefined : refusalOf(() => dataplane.apply(rules, signal));
    });
    const nowMs = this.#parts.clock.bootMs();
    for (const [id, message] of culprits) {
      this.#quarantine.record(id, message, nowMs);
      this.#refusedAt.set(id, revisionOf(state, id));
      refusals.push({ object: id, stage: "rules", code: "rules-refused", message });
    }
  }

  async #sweepFlows(
    outlook: Outlook,
    { network }: Seen,
    version: string,
    refusals: Refusal[],
    signal: AbortSignal,
  ) {
    const { program } = outlook.compiled;
    const contradicts = compileContradicts({
      program,
      retired: this.#parts.store.current.ledger.retired,
      network,
    });
    try {
      return await this.#sweep.sweep(contradicts, version, signal);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      refusals.push({ stage: "flows", code: error.code, message: error.message });
      return undefined;
    }
  }

  async #openGate(state: State, after: Seen, residual: Outlook, signal: AbortSignal) {
    const { dataplane } = this.#parts;
    const { rules } = lookAhead(dataplane, this.#parts.frame, this.#withLedger(state), after, {
      ...this.#circumstances(state, after),
      gate: "open",
    });
    if (rules.changes.length > 0) await dataplane.apply(rules, signal);
    this.#gate = "open";
    const seen = rules.changes.length > 0 ? await this.observe(signal) : after;
    return { changes: rules.changes, seen, residual };
  }

  /** Once all that is not quarantined verified, and nothing is on its way. */
  #mayOpenGate({ rules, addresses, compiled }: Outlook): boolean {
    if (this.#gate !== "closed" || rules.changes.length > 0 || addresses.add.length > 0) return false;
    return ![...compiled.blocked.values()].some(({ reason }) => reason === "Pending");
  }

  async #conclude(found: {
    readonly state: State;
    readonly before: Seen;
    readonly after: Seen;
    readonly residual: Outlook;
    readonly changes: readonly Change[];
    readonly refusals: Refusal[];
    readonly sweep: SweepResult | undefined;
    readonly version: string;
    readonly isDrift: boolean;
  }): Promise<PassFindings> {
    const { state, before, after, residual, refusals, sweep } = found;
    const { dataplane, announcer, store } = this.#parts;
    const remaining = sweep?.remaining ?? [];
    const evidence = gatherEvidence(dataplane, after, residual, refusals, remaining);
    const verdicts = judge(state.desired, residual.compiled, evidence);
    const isClean = residual.changes.length === 0 && remaining.length === 0 && !refusals.some(isUnfinished);
    const isSwept = isClean && sweep !== undefined && sweep.shadowed === 0;
    await strikeOff(store, residual.addresses.ledgerStale, isSwept).catch((error: unknown) =>
      refusals.push(ledgerRefusal(error)),
    );
    announcer.announce(this.#newlyHeld(before, after, residual));
    this.#uncleanPasses = isClean ? 0 : this.#uncleanPasses + 1;
    this.#cleanVersion = isClean ? found.version : "";
    this.#isFirst = false;
    return {
      ...found,
      seen: after,
      verdicts,
      gate: this.#gate ?? "open",
      isClean,
      dueInMs: this.#dueInMs(state, isClean),
    };
  }

  /** EIPs that this pass added, or found at the start: those on the wire may remember another's MAC for them. */
  #newlyHeld(before: Seen, after: Seen, { compiled }: Outlook) {
    const held = new Set(this.#isFirst ? [] : before.network.addresses.map(({ address }) => address));
    const present = new Set(after.network.addresses.map(({ address }) => address));
    return compiled.program.eips.filter(({ address }) => present.has(address) && !held.has(address));
  }

  #leaveAlone(state: State, seen: Seen): PassFindings {
    const residual = this.foresee(state, seen);
    const gate = this.#parts.dataplane.isGateClosed(seen.rules) ? "closed" : "open";
    return {
      state,
      seen,
      residual,
      gate,
      verdicts: undefined,
      changes: [],
      refusals: [],
      sweep: undefined,
      isClean: false,
      isDrift: false,
      dueInMs: undefined,
    };
  }

  #circumstances(state: State, seen: Seen): Circumstances {
    const { clock, prober, dataplane } = this.#parts;
    const waiting = this.#quarantine.waiting(clock.bootMs());
    return {
      gate: this.#gate ?? (dataplane.isPristine(seen.rules) ? "closed" : "open"),
      expiredLeases: expiredLeases(state, clock.instant()),
      ...prober.prospects,
      quarantined: new Map([...waiting].map(([id, { message }]) => [id, message])),
    };
  }

  /** An object that was written again, or is gone, is no longer what the kernel refused. */
  #releaseRewritten(state: State): void {
    for (const [id, revision] of this.#refusedAt) {
      if (revisionOf(state, id) === revision) continue;
      this.#refusedAt.delete(id);
      this.#quarantine.clear(id);
    }
  }

  /** The desired set of one reading under the newest ledger, which the pass itself writes; another epoch's says nothing. */
  #withLedger(state: State): State {
    const { store, epoch } = this.#parts;
    const { ledger } = store.current;
    if (ledger.epoch === epoch) return { ...state, ledger };
    return { ...state, ledger: { epoch, addresses: new Map(), retired: new Set() } };
  }

  /** Names all that decides what the program is: two passes of one version must not differ in what they ask for. */
  #version(state: State, { compiled }: Outlook): string {
    const blocked = [...compiled.blocked.keys()].join();
    return `${state.desired.revision} ${blocked}`;
  }

  #dueInMs(state: State, isClean: boolean): number | undefined {
    const { clock, prober } = this.#parts;
    const retryMs = isClean
      ? undefined
      : Math.min(firstRetryMs * 2 ** (this.#uncleanPasses - 1), longestRetryMs);
    const due = [
      retryMs,
      this.#quarantine.dueInMs(clock.bootMs()),
      prober.dueInMs(),
      nextExpiryMs(state, clock.instant()),
    ].filter((ms) => ms !== undefined);
    return due.length === 0 ? undefined : Math.min(...due);
  }
}

function report(
  stage: Refusal["stage"],
  failures: readonly StepFailure<AddressStep | RouteStep | SysctlStep>[],
  refusals: Refusal[],
): void {
  for (const { step, code, message } of failures) {
    const object = "object" in step ? step.object : undefined;
    refusals.push({ ...(object !== undefined && { object }), stage, code, message });
  }
}

/** @returns the kernel's words where it refused the transaction; what else goes wrong is thrown on */
async function refusalOf(apply: () => Promise<void>): Promise<string | undefined> {
  try {
    await apply();
    return undefined;
  } catch (error) {
    if (error instanceof GatewayError && error.code === "rules-refused") return error.message;
    throw error;
  }
}

function ledgerRefusal(error: unknown): Refusal {
  if (!(error instanceof GatewayError)) throw error;
  return { stage: "ledger", code: error.code, message: error.message };
}

/** A refusal that leaves work for the next pass; quarantine and sysctls have their own ways of being told. */
function isUnfinished({ stage }: Refusal): boolean {
  return stage === "flows" || stage === "ledger";
}

function revisionOf(state: State, id: ObjectId): number {
  const { kind, name } = parseObjectId(id);
  return objectsOf(state.desired, kind).get(name)?.revision ?? 0;
}
