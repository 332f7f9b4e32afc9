/**
 * Watches a script being played and records every broken promise:
 * - Ready is true only if packets go as desired and no lease has expired, whenever a pass reports it;
 * - in a fresh namespace nothing leaves untranslated before the first verified pass;
 * - after a truncated reading nothing is written except what does not depend on it;
 * - no flow is ended that an object still translates;
 * - before the live state is adopted nothing is written.
 */

import type { PassResult } from "../../../agent/reconciler/pass/pass-result.ts";
import type { Flow } from "../../../lib/conntrack/flow.ts";
import { addressOf, type Ip } from "../../../lib/model/ip.ts";
import { ledgerKey } from "../../../lib/model/ledger.ts";
import {
  type Kind,
  kinds,
  type ObjectId,
  type ObjectName,
  objectId,
  parseObjectId,
} from "../../../lib/model/names.ts";
import { ruledEips } from "../../../lib/model/program.ts";
import type { AddressStep } from "../../../lib/plan/address-plan.ts";
import { type Desired, objectsOf } from "../../../lib/state/desired.ts";
import { emptyState, type State } from "../../../lib/state/state.ts";
import type { ModelAgent } from "./agent.ts";
import type { ModelKernel, WriteTarget } from "./kernel.ts";
import { Oracle } from "./oracle.ts";
import type { Fate, Packet } from "./tracer.ts";
import { hosts, interfaces, ip, ours, outside, pods } from "./universe.ts";
import { packetOf, Works } from "./works.ts";
import type { Disk } from "./world.ts";

const gatewayAddresses = new Set([ip(hosts.external), ip(hosts.vpc)]);

export interface Scene {
  readonly kernel: ModelKernel;
  readonly agent: ModelAgent;
  readonly disk: Disk;
  /** The Eips whose lease has expired. */
  readonly expired: ReadonlySet<ObjectId>;
}

export class Judge {
  readonly violations: string[] = [];
  /** The current step, for messages. */
  at = "the start";
  /** False after something happened that explains an unexpected flow, or an object that is still in force. */
  isSound = true;
  readonly #scene: Scene;
  /** How often other programs changed something, and how much of it the last reading saw. */
  readonly #drifts = { rules: 0, network: 0 };
  readonly #seen = { rules: 0, network: 0 };
  /** How often they had changed rules when the pass began. */
  #ruleDrifts = 0;
  /** The desired set of the last pass. */
  #judged: Desired = emptyState.desired;
  /** Objects last reported wrongly, and not correctly since. */
  readonly #lies = new Set<string>();
  /**
   * Objects that were read after rules were written. They may be right too early, while the pass goes on to addresses
   * and flows.
   */
  readonly #liesAhead = new Set<string>();
  /** The rules of objects in their last complete reading. */
  #rulesRead: readonly string[] = [];
  /** True until the gate of a fresh namespace was opened. */
  isFresh = true;
  #isGateOpened = false;
  #mayWrite = true;
  /** What the pass wrote. */
  readonly #written = new Set<WriteTarget>();
  #passState: State = emptyState;
  /** The Eips whose lease had expired when the pass began. */
  #expired: ReadonlySet<ObjectId> = new Set();
  /** The Eips that were Ready when the pass began. */
  #readyEips: ReadonlySet<unknown> = new Set();
  /** The state at the first pass of this agent, and at the first pass of the agent that opened the gate. */
  #firstState: State = emptyState;
  #openedState: State = emptyState;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** A namespace without any rule. */
  onFreshKernel(kernel: ModelKernel): void {
    this.isFresh = true;
    this.#isGateOpened = false;
    kernel.onRead = (what, isLie) => this.#onRead(what, isLie);
    kernel.onWrite = (what, target) => this.#onWrite(what, target);
    kernel.onFlowRemoved = (flow) => this.#onFlowRemoved(flow);
  }

  /** Another program changed something. */
  onDrift(what: "rules" | "network"): void {
    this.#drifts[what]++;
  }

  /** True if a set was accepted in the life of this agent, or was stored before. */
  get isSetAccepted(): boolean {
    return this.#scene.agent.isSetStored || this.isFullSetAccepted;
  }

  get isFullSetAccepted(): boolean {
    return this.#scene.disk.state.lastFullSet !== undefined;
  }

  /** True if the last readings saw everything that other programs changed. */
  get hasSeenAll(): boolean {
    return this.#seen.rules === this.#drifts.rules && this.#seen.network === this.#drifts.network;
  }

  /** A pass begins. */
  onPassBegun(): void {
    const { agent, disk, expired } = this.#scene;
    this.#lies.clear();
    this.#liesAhead.clear();
    this.#written.clear();
    this.#ruleDrifts = this.#drifts.rules;
    this.#passState = disk.state;
    this.#expired = expired;
    const eips = [...disk.state.desired.eips].filter(
      ([name]) => agent.board.statusOf(objectId("eip", name)).ready,
    );
    this.#readyEips = new Set(eips.map(([, stored]) => stored));
    if (agent.life.moments === 0) this.#firstState = disk.state;
  }

  /** A write was accepted or refused: what it changed must not be Ready before a pass has seen it. */
  onWritten(): void {
    const { agent, disk } = this.#scene;
    const judged = agent.findings?.state.desired ?? emptyState.desired;
    const { desired } = disk.state;
    for (const kind of kinds) {
      for (const [name, stored] of objectsOf(desired, kind)) {
        const { spec } = stored;
        const isEipNew = "eip" in spec && judged.eips.get(spec.eip) !== desired.eips.get(spec.eip);
        const isNew = isEipNew || objectsOf(judged, kind).get(name) !== stored;
        if (isNew && agent.board.statusOf(objectId(kind, name)).ready)
          this.blame(`${kind} ${name} is Ready as no pass has seen it`);
      }
    }
  }

  /** Called between any two effects of the agent. */
  onMoment(): void {
    const { kernel } = this.#scene;
    if (!this.isFresh) return;
    for (const pod of pods) {
      if (this.#isGateOpened && !this.#isServed(pod)) continue;
      for (const isStray of [false, true]) {
        const fate = kernel.tracer.send({ ...packetOf(interfaces.vpc, pod, outside, "udp", 53), isStray });
        if (fate.kind === "sent" && fate.source === pod)
          this.blame(`${pod} crossed untranslated${isStray ? " as a stray" : ""} in a fresh namespace`);
        if (fate.kind !== "dropped" && fate.entry !== undefined) kernel.tracer.forget(fate.entry);
      }
    }
  }

  /** True if the pod had to be translated when the agent started, unless something happened for which it may wait. */
  #isServed(pod: Ip): boolean {
    const { desired, leases } = this.#scene.disk.state;
    const hasDrifted = this.#drifts.rules + this.#drifts.network > 0;
    if (!this.isSound || hasDrifted || leases.size > 0 || this.#openedState.desired !== desired) return false;
    return new Oracle(desired, { own: gatewayAddresses, kept: new Set() }).leavesBy(pod) !== undefined;
  }

  /**
   * When the guard exists, a packet that cannot begin a flow does not leave the VPC if a packet that can begin one
   * would be translated. It also does not reach the gateway itself through an EIP that rules name.
   */
  onStray(packet: Packet, fate: Fate): void {
    const { kernel, agent } = this.#scene;
    if (this.isFresh || fate.kind === "dropped" || fate.entry !== undefined || !kernel.isGuarded()) return;
    // Rules of other programs may translate packets that no object names, and other programs may have flushed the
    // guard's chains.
    if (this.#drifts.rules > 0) return;
    if (fate.kind === "delivered") {
      const eips = agent.findings === undefined ? [] : ruledEips(agent.findings.planAfter.program);
      const isEip =
        eips.some(({ address }) => address === fate.destination) && kernel.names(fate.destination);
      if (isEip) this.blame(`a stray packet came to the gateway by an EIP: ${JSON.stringify(packet)}`);
      return;
    }
    if (packet.from !== interfaces.vpc || fate.to !== interfaces.external) return;
    const asked = kernel.tracer.send({ ...packet, isStray: false });
    if (asked.kind !== "dropped" && asked.entry !== undefined) kernel.tracer.forget(asked.entry);
    if (asked.kind === "sent" && asked.source !== packet.source)
      this.blame(`a stray packet left untranslated: ${JSON.stringify(packet)}`);
  }

  onPass(findings: PassResult, isIncremental: boolean): void {
    const { kernel, agent } = this.#scene;
    const before = this.#judged;
    this.#judged = findings.state.desired;
    if (isIncremental && this.#seen.rules < this.#ruleDrifts)
      this.blame("an incremental pass did not notice that rules had changed");
    if (agent.isReady && !kernel.isGateClosed()) this.isFresh = false;
    if (findings.verdicts === undefined) return;
    // The pass cannot know changes that other programs made after its last reading.
    if (!this.hasSeenAll) return;
    if (!kernel.network.isUp(interfaces.vpc) || !kernel.network.isUp(interfaces.external)) return;
    const { planAfter, state, sweep, failures } = findings;
    const isNew = (kind: Kind, name: ObjectName, desired: Desired) =>
      objectsOf(state.desired, kind).get(name) !== objectsOf(desired, kind).get(name);
    // Rules may name an unbound Eip: only its address is left out.
    const blocked = [...findings.blocked].filter(
      ([, { isAccepted, reason }]) => isAccepted && reason !== "Unbound",
    );
    // An Eip that was renewed during the pass may work again.
    const expired = this.#expired.intersection(this.#scene.expired);
    const kept = new Set(blocked.map(([id]) => id)).union(expired);
    const oracle = new Oracle(state.desired, { own: planAfter.own, kept });
    const works = new Works(kernel, oracle);
    const isReady = (id: ObjectId) => agent.board.statusOf(id).ready;
    for (const kind of kinds) {
      for (const name of objectsOf(state.desired, kind).keys()) {
        const id = objectId(kind, name);
        const isCurrent = !isNew(kind, name, this.#scene.disk.state.desired);
        const fault = isCurrent && isReady(id) ? works.faultOf(id) : undefined;
        if (fault !== undefined) this.blame(`${id} is Ready, but ${fault}`);
      }
    }
    // Flows that the pass had no reason to check can be anything.
    if (sweep === undefined && !failures.some(({ stage }) => stage === "flow")) return;
    for (const flow of kernel.tracer.flows) {
      const id = oracle.permits(flow, ours) === false ? works.ruledBy(flow) : undefined;
      if (id === undefined) continue;
      const { kind, name } = parseObjectId(id);
      // An incremental pass checks only the flows of what was written.
      if (isIncremental && !isNew(kind, name, before)) continue;
      // Changes of its users do not affect an existing Eip.
      if (kind === "eip" && this.#readyEips.has(state.desired.eips.get(name))) continue;
      if (isReady(id)) this.blame(`${id} is Ready, but a flow goes another way: ${JSON.stringify(flow)}`);
    }
  }

  blame(what: string): void {
    this.violations.push(`${this.at}: ${what}`);
  }

  #onRead(what: string, isLie: boolean): void {
    const { kernel, disk } = this.#scene;
    const isAhead = this.#written.has("rules") && what !== "network";
    if (isLie) (isAhead ? this.#liesAhead : this.#lies).add(what);
    else for (const lies of [this.#lies, this.#liesAhead]) lies.delete(what);
    if (what === "rules" && !isLie) this.#rulesRead = kernel.objectRules();
    // A pass decides before its first write. What it reads after that changes nothing about it.
    if (what === "rules" && this.#written.size === 0)
      this.#mayWrite = disk.state.isSet || !kernel.holdsRules();
    if (what === "rules" || what === "network") this.#seen[what] = this.#drifts[what];
  }

  /**
   * What may be written if only the rules could not be read: routes, sysctls, and addresses that were held before. The
   * packets show that forwarding is not enabled before the gate exists.
   */
  #needsNoRules(what: string, target: WriteTarget): boolean {
    if (this.#lies.has("network")) return false;
    if (target === "route" || target === "sysctl") return true;
    if (target !== "address") return false;
    const { kind, entry } = JSON.parse(what) as AddressStep;
    const names = new RegExp(`(?<![0-9.])${entry.address.replaceAll(".", "\\.")}(?![0-9.])`);
    return kind === "add" && this.#rulesRead.some((text) => names.test(text));
  }

  #onWrite(what: string, target: WriteTarget): void {
    this.#written.add(target);
    const isLiedAhead = target === "rules" && this.#liesAhead.size > 0 && !leavesGuard(what);
    const isLiedTo = this.#lies.size > 0 || isLiedAhead;
    if (isLiedTo && !this.#needsNoRules(what, target))
      this.blame(`wrote after a reading that was cut short: ${what}`);
    if (!this.#mayWrite && !this.#scene.disk.state.isSet) this.blame(`wrote what was never adopted: ${what}`);
    if (target === "address") {
      const step = JSON.parse(what) as AddressStep;
      if (step.kind === "add") this.#onAddressAdded(step);
    }
    if (!what.includes("delete table ip natgw_gate") && !what.includes("-X NATGW_GATE")) return;
    const { kernel } = this.#scene;
    if (kernel.hasFilterTables && !this.isSetAccepted)
      this.blame("opened the gate before a set was accepted");
    this.#isGateOpened = true;
    this.#openedState = this.#firstState;
  }

  /** Addresses in the ledger may be added again, even if another host answers. */
  #onAddressAdded({ entry }: AddressStep): void {
    const isContested = this.#scene.agent.contested.has(entry.address);
    if (isContested && !this.#passState.ledger.addresses.has(ledgerKey(entry)))
      this.blame(`took ${entry.address} from a neighbour`);
  }

  #onFlowRemoved(flow: Flow): void {
    const { kernel, agent } = this.#scene;
    const { desired } = this.#passState;
    const own = agent.findings?.planAfter.own;
    // Before the end of the first pass only the pass knows the gateway's own addresses.
    if (!this.isSound || own === undefined) return;
    const coming = [...desired.eips.values()].filter(
      ({ spec }) => spec.bound !== false && !kernel.network.isLocal(addressOf(spec.address)),
    );
    // With and without the Eips that are about to be added: flows that both permit must stay.
    const hopeful = [new Set<ObjectId>(), new Set(coming.map(({ spec }) => objectId("eip", spec.name)))];
    // A lease may expire or be renewed during the pass.
    const views = hopeful.flatMap((kept) => [kept.union(this.#expired), kept.union(this.#scene.expired)]);
    if (views.every((kept) => new Oracle(desired, { own, kept }).permits(flow, ours) === true))
      this.blame(`ended a flow that is as desired: ${JSON.stringify(flow)}`);
  }
}

/** True if a transaction only takes addresses out of the guard. That was decided before the rules were written. */
function leavesGuard(what: string): boolean {
  const lines = what.split("\n").filter((line) => line !== "" && line !== "COMMIT" && !line.startsWith("*"));
  return lines.every(
    (line) =>
      /^-D NATGW_(?:FIPS|BACKENDS|CLIENTS|EIPS) /.test(line) ||
      /^(?:(?:fips|backends|clients|eips) \+0 -\d+(?:; |$))+$/.test(line),
  );
}
