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
import { setImmediate as nextTurn } from "node:timers/promises";
import { nextExpiryMs } from "../../../lib/admission/leases.ts";
import { memoizeLast, stabilize } from "../../../lib/memoize.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import { ledgerKey } from "../../../lib/model/ledger.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../lib/model/observed.ts";
import type { Verdict } from "../../../lib/model/status.ts";
import { judge } from "../../../lib/plan/judge.ts";
import { removableFrom } from "../../../lib/plan/network/addresses.ts";
import { heldIn } from "../../../lib/plan/network/bindings.ts";
import type { State } from "../../../lib/state/state.ts";
import { ArpNotifier } from "../eips/arp-notifier.ts";
import { beginEpoch, strikeOff, writeAhead } from "../eips/ledger.ts";
import type { PassRequest } from "../loop.ts";
import { Drift, type DriftReview } from "../retry/drift.ts";
import { PassRetry } from "../retry/pass-retry.ts";
import { keyOf } from "../retry/repair-throttle.ts";
import type { SweepResult } from "../subsystems/flow-sweep.ts";
import { Sweeper } from "../subsystems/flows.ts";
import { Gatekeeper } from "../subsystems/gate.ts";
import { NetworkWriter } from "../subsystems/network.ts";
import { PreviousDataplanes } from "../subsystems/previous-dataplane.ts";
import { RuleWriter } from "../subsystems/rules.ts";
import type { UnsweptObjects } from "../subsystems/unswept-objects.ts";
import { orRefusal, type Refusal } from "./failures.ts";
import type { Outlook, Seen } from "./outlook.ts";
import type { PassDeps, PassResult } from "./pass-result.ts";
import { Foresight } from "./planner.ts";
import { gatherEvidence, isSameEvidence, type Testimony } from "./verification.ts";

export class Pass {
  readonly #parts: PassDeps;
  readonly #heritage: PreviousDataplanes;
  readonly #gate: Gatekeeper;
  readonly #rules: RuleWriter;
  readonly #network: NetworkWriter;
  readonly #foresight: Foresight;
  readonly #sweeper: Sweeper;
  readonly #neighbours: ArpNotifier;
  readonly #drift = new Drift();
  readonly #backlog = new PassRetry();
  readonly #keepEvidence = stabilize(isSameEvidence);
  readonly #judge = memoizeLast(judge);
  #lastSeen: Seen | undefined;
  #lastNetwork: ObservedNetwork | undefined;

  constructor(parts: PassDeps) {
    this.#parts = parts;
    this.#heritage = new PreviousDataplanes(parts.previousDataplanes);
    this.#gate = new Gatekeeper(parts.dataplane, this.#heritage);
    this.#rules = new RuleWriter(parts.dataplane, parts.clock);
    this.#network = new NetworkWriter(parts.network);
    this.#foresight = new Foresight(parts, this.#heritage, this.#gate, () => this.#rules.quarantined());
    this.#sweeper = new Sweeper(parts);
    this.#neighbours = new ArpNotifier(parts);
  }

  /** Shared with the narrow passes between those over everything. */
  get unswept(): UnsweptObjects {
    return this.#sweeper.unswept;
  }

  /** As last read, whether or not the rules could be. */
  get lastNetwork(): ObservedNetwork | undefined {
    return this.#lastNetwork;
  }

  /** The last reading that was whole; `undefined` before the first. */
  get lastSeen(): Seen | undefined {
    return this.#lastSeen;
  }

  async observe(signal: AbortSignal): Promise<Seen> {
    const { dataplane } = this.#parts;
    const [network, rules] = await Promise.all([this.#observeNetwork(signal), dataplane.observe(signal)]);
    this.#lastSeen = { network, rules };
    return this.#lastSeen;
  }

  async #observeNetwork(signal: AbortSignal): Promise<ObservedNetwork> {
    this.#lastNetwork = await this.#parts.network.observe(signal);
    return this.#lastNetwork;
  }

  /** What a pass over `seen` would do for `state`, under what is known now. Asks nobody, changes nothing. */
  foresee(state: State, seen: Seen): Outlook {
    return this.#foresight.foresee(state, seen);
  }

  isUnadopted(state: State, seen: Seen): boolean {
    return this.#foresight.isUnadopted(state, seen);
  }

  /** What a reading alone allows to be said, where no pass came to its end after it; nothing before adoption. */
  judge(state: State, seen: Seen): ReadonlyMap<ObjectId, Verdict> {
    if (this.isUnadopted(state, seen)) return new Map();
    const { dataplane, clock } = this.#parts;
    const outlook = this.foresee(state, seen);
    const fights = this.#drift.fights(clock.bootMs());
    const evidence = gatherEvidence(dataplane, seen, outlook, this.#testimony({ fights }));
    return judge(state.desired, outlook.compiled, evidence);
  }

  async run(request: PassRequest, signal: AbortSignal): Promise<PassResult> {
    const { store, epoch } = this.#parts;
    const state = store.current;
    const before = await this.observe(signal);
    await this.#heritage.look(signal);
    if (this.isUnadopted(state, before)) return this.#leaveAlone(state, before);

    const refusals: Refusal[] = [];
    await orRefusal("ledger", refusals, () => beginEpoch(store, epoch));
    this.#rules.releaseRewritten(state);
    this.#gate.begin(before, state);
    const planned = await this.#plan(state, before);
    const version = versionOf(state, planned);
    const review = this.#drift.review(version, planned, this.#parts.clock.bootMs());
    const outlook = review.due;
    const changes: Change[] = [...outlook.changes];

    await this.#apply(state, before, outlook, refusals, signal);
    const isMoved = changes.length > 0 || !this.#backlog.isDone(version);
    const sweep =
      isMoved || this.#sweeper.isDue(request)
        ? await this.#sweepFlows(outlook, before, version, refusals, signal)
        : undefined;
    const refused = refusals.filter(({ stage }) => stage === "addresses").map(({ object }) => object);
    const removable = removableFrom(outlook.addresses, new Set(refused));
    refusals.push(...(await this.#network.addresses(removable, signal)));

    let after = changes.length > 0 ? await this.observe(signal) : before;
    let residual = await this.#foresight.look(state, after);
    if (this.#gate.isClosed && this.#gate.isWhole(state, residual)) {
      const { rules } = await this.#foresight.look(state, after, { gate: "open" });
      await this.#parts.dataplane.apply(rules, signal);
      this.#gate.opened();
      changes.push(...rules.changes);
      after = await this.observe(signal);
      residual = await this.#foresight.look(state, after);
    }
    if (!this.#gate.isClosed && this.#gate.isWhole(state, residual)) {
      const cleared = await orRefusal("rules", refusals, () => this.#heritage.clear(signal));
      changes.push(...(cleared ?? []));
    }
    this.#drift.conclude(version, planned, review, { residual, refusals }, this.#parts.clock.bootMs());
    return this.#conclude({ state, before, after, residual, changes, refusals, sweep, version, review });
  }

  /** Takes note that a narrow pass did what there was to do between two states. */
  follow(before: PassResult, after: PassResult): void {
    const version = versionOf(before.state, before.residual);
    if (!this.#backlog.isDone(version)) return;
    const next = versionOf(after.state, after.residual);
    this.#backlog.note(next, false);
    this.#drift.follow(version, next);
  }

  /** Plans with what the wire says of addresses to come; asks it about those that nobody asked about yet. */
  async #plan(state: State, seen: Seen): Promise<Outlook> {
    const { arpProbe } = this.#parts;
    const { ledger } = this.#foresight.withLedger(state);
    const noProspects = { probing: new Set<Ipv4>(), addressConflicts: new Map() };
    const hopeful = await this.#foresight.look(state, seen, noProspects);
    // What the ledger names was held in this epoch already: an address that somebody took away comes back at once.
    const unknown = hopeful.addresses.add.filter(({ entry }) => !ledger.addresses.has(ledgerKey(entry)));
    // And nobody else has what is held here, with another prefix length or another binding.
    const held = new Set(unknown.length === 0 ? [] : heldIn(seen.network).map(({ address }) => address));
    const newcomers = unknown.filter(({ object, entry }) => object !== undefined && !held.has(entry.address));
    const { probing, addressConflicts } = arpProbe.review(newcomers.map(({ entry }) => entry));
    return probing.size === 0 && addressConflicts.size === 0 ? hopeful : this.#foresight.look(state, seen);
  }

  async #apply(
    state: State,
    before: Seen,
    outlook: Outlook,
    refusals: Refusal[],
    signal: AbortSignal,
  ): Promise<void> {
    const { store, dataplane } = this.#parts;
    // A full disk must not keep working NAT from being repaired: what could not be written down is told instead.
    await orRefusal("ledger", refusals, () => writeAhead(store, outlook, dataplane.eipsIn(before.rules)));
    const replan = async (without: ReadonlySet<ObjectId>) => {
      const quarantined = new Map(this.#rules.quarantined());
      for (const id of without) quarantined.set(id, "");
      return (await this.#foresight.look(state, await this.observe(signal), { quarantined })).rules;
    };
    const culprits = await this.#rules.write(state, outlook.rules, replan, signal);
    for (const [object, message] of culprits) {
      refusals.push({ object, stage: "rules", code: "rules-refused", message });
    }
    refusals.push(...(await this.#network.sysctls(outlook.sysctls, signal)));
    refusals.push(...(await this.#network.addresses(outlook.addresses.add, signal)));
    refusals.push(...(await this.#network.routes(outlook.routes.steps, signal)));
  }

  async #sweepFlows(
    outlook: Outlook,
    before: Seen,
    version: string,
    refusals: Refusal[],
    signal: AbortSignal,
  ): Promise<SweepResult | undefined> {
    const { ledger } = this.#foresight.withLedger(this.#parts.store.current);
    return orRefusal("flows", refusals, () => this.#sweeper.sweep(outlook, before, ledger, version, signal));
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
    readonly review: DriftReview;
  }): Promise<PassResult> {
    const { state, before, after, residual, refusals, sweep, changes, review } = found;
    const { dataplane, store, clock } = this.#parts;
    const remaining = sweep?.remaining ?? [];
    const fights = this.#drift.fights(clock.bootMs());
    this.#sweeper.note(sweep, refusals, changes, state, residual);
    const evidence = this.#keepEvidence(
      gatherEvidence(dataplane, after, residual, this.#testimony({ refusals, fights, remaining })),
    );
    await nextTurn();
    const verdicts = this.#judge(state.desired, residual.compiled, evidence);
    await nextTurn();
    const isDone = residual.changes.length === 0 && remaining.length === 0;
    const isSwept = isDone && sweep !== undefined && sweep.shadowed === 0;
    if (isSwept) this.#sweeper.forgetLeaving();
    await orRefusal("ledger", refusals, () => strikeOff(store, residual, isSwept));
    const isClean = isDone && !refusals.some(({ stage }) => stage === "flows" || stage === "ledger");
    this.#neighbours.tell(residual.compiled.program, before, after);
    await nextTurn();
    // What is held back falls due by itself: there is nothing to be tried again before.
    const isWaiting =
      refusals.length + remaining.length === 0 &&
      residual.changes.every((change) => review.held.has(keyOf(change)));
    this.#backlog.note(found.version, !isClean && !isWaiting);
    const gate = this.#gate.on(after);
    const dueInMs = this.dueInMs(state, review.held);
    return {
      state,
      seen: after,
      residual,
      verdicts,
      changes,
      refusals,
      sweep,
      gate,
      isClean,
      repairs: review.repairs,
      fights,
      dueInMs,
    };
  }

  #testimony(found: Partial<Testimony>): Testimony {
    const { conflicts } = this.#parts.arpConflicts;
    return {
      refusals: [],
      fights: [],
      remaining: [],
      unswept: this.unswept.objects,
      conflicts,
      ...found,
    };
  }

  #leaveAlone(state: State, seen: Seen): PassResult {
    return {
      state,
      seen,
      residual: this.foresee(state, seen),
      verdicts: undefined,
      changes: [],
      refusals: [],
      sweep: undefined,
      gate: this.#parts.dataplane.isGateClosed(seen.rules) ? "closed" : "open",
      isClean: false,
      repairs: [],
      fights: [],
      dueInMs: undefined,
    };
  }

  /** Milliseconds until something falls due by itself. */
  dueInMs(state: State, held: DriftReview["held"] = new Set()): number | undefined {
    const { clock, arpProbe } = this.#parts;
    const leaseMs = nextExpiryMs(state, clock.instant());
    const fightMs = this.#drift.dueInMs(held, clock.bootMs());
    const due = [this.#backlog.dueInMs, this.#rules.dueInMs(), arpProbe.dueInMs(), leaseMs, fightMs].filter(
      (ms) => ms !== undefined,
    );
    return due.length === 0 ? undefined : Math.min(...due);
  }
}

/** Names all that decides what the program is: two passes of one version do not differ in what they ask for. */
function versionOf(state: State, { compiled }: Pick<Outlook, "compiled">): string {
  return `${state.desired.revision} ${[...compiled.blocked.keys()].sort().join()}`;
}
