/**
 * The API with fakes: the real reducer and decisions, a state in memory, and a board and a reconciler that the test
 * controls.
 */

import { join } from "node:path";
import { pino } from "pino";
import { Registry } from "prom-client";
import { type Api, createApi } from "../../agent/api/api.ts";
import type { ApiDeps, ApiSettings } from "../../agent/api/deps.ts";
import type { BoardPort, FlowsPort, ReconcilerPort, ViewPort, WaitGoals } from "../../agent/api/ports.ts";
import { EventHub } from "../../agent/events/hub.ts";
import type { DryRun } from "../../agent/reconciler/operations/dry-run.ts";
import type { ImportedState } from "../../agent/reconciler/operations/import-live.ts";
import type { ReleaseRequest } from "../../agent/reconciler/operations/release.ts";
import type { PassReport } from "../../agent/reconciler/pass/report.ts";
import { runYielding } from "../../agent/run-yielding.ts";
import type { GatewayStatus } from "../../agent/status/summary.ts";
import type { WaitOutcome } from "../../agent/status/waiting.ts";
import type { StateAccess } from "../../agent/store/state-access.ts";
import type { IfMatch } from "../../lib/admission/writes.ts";
import { type Chunked, inParts, type MaybeChunked } from "../../lib/chunked.ts";
import { usersByEipChunked } from "../../lib/compile/references.ts";
import type { Flow } from "../../lib/conntrack/flow.ts";
import type { Explanation, Question } from "../../lib/explain/explanation.ts";
import type { WhoQuery } from "../../lib/flow-log/who.ts";
import type { Imported } from "../../lib/import/import.ts";
import type { GatewayError } from "../../lib/model/errors.ts";
import type { Ip } from "../../lib/model/ip.ts";
import { type InterfaceName, type ObjectId, parseObjectId } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Reason, Status } from "../../lib/model/status.ts";
import type { TopItem, TopSubject } from "../../lib/ports/top.ts";
import { objectsOf } from "../../lib/state/desired.ts";
import { reduce } from "../../lib/state/reduce.ts";
import { emptyState, type Instant, type State, type StateChange } from "../../lib/state/state.ts";
import { expectNoSecret } from "./secrets.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

const epoch = "boot-1/4026531840";
/** Directory for the sockets of this process's test APIs. Created with the first one. */
let directory: string | undefined;
let sockets = 0;

function nextSocketPath(): string {
  directory ??= temporaryDirectory("api");
  sockets++;
  return join(directory, `agent-${sockets}.sock`);
}

const startedAt = "2026-01-01T00:00:00.000Z";

export class MemoryState implements StateAccess {
  current: State = emptyState;
  /** The error of the next transaction, such as a full disk. */
  failure: GatewayError | undefined;
  /** Changes made durable so far. */
  journal: StateChange[] = [];

  async transact<T>(
    decide: (state: State) => MaybeChunked<{ readonly changes: readonly StateChange[]; readonly result: T }>,
  ): Promise<{ readonly state: State; readonly result: T }> {
    const { changes, result } = await runYielding(inParts(decide(this.current)));
    if (this.failure !== undefined) throw this.failure;
    if (changes.length > 0) this.current = reduce(this.current, changes);
    for (const change of changes) this.journal.push(change);
    return { state: this.current, result };
  }
}

/** Objects are Ready if the test says so. Waiting requests end by {@link finish}, timeout or abort. */
export class FakeBoard implements BoardPort {
  readonly #state: StateAccess;
  readonly #waiters = new Set<(outcome: WaitOutcome) => void>();
  readonly ready = new Set<ObjectId>();
  readonly reasons = new Map<ObjectId, Reason>();
  /** Why objects are not Programmed. */
  readonly programmed = new Map<ObjectId, { readonly reason: Reason; readonly message: string }>();
  /** If set, every wait is answered at once with it. */
  outcome: WaitOutcome | undefined;
  waited: {
    readonly ready: readonly ObjectId[];
    readonly programmed?: readonly ObjectId[];
    readonly gone: readonly ObjectId[];
    timeoutMs: number;
  }[] = [];
  isReady = true;
  appliedRevision = Number.POSITIVE_INFINITY;

  constructor(state: StateAccess) {
    this.#state = state;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  #statusOf(id: ObjectId): Status {
    const { kind, name } = parseObjectId(id);
    const stored = objectsOf(this.#state.current.desired, kind).get(name);
    const isReady = this.ready.has(id);
    const fault = this.programmed.get(id);
    return {
      ready: isReady,
      observedRevision: isReady ? (stored?.revision ?? 0) : 0,
      epoch,
      conditions: [
        {
          type: "Ready",
          status: isReady ? "True" : "False",
          reason: isReady ? "Ready" : (this.reasons.get(id) ?? "Pending"),
          message: "",
          lastTransitionTime: startedAt,
        },
        ...(fault === undefined
          ? []
          : [{ type: "Programmed", status: "False", ...fault, lastTransitionTime: startedAt } as const]),
      ],
    };
  }

  wait(
    { ready = [], programmed, gone, revision }: WaitGoals,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<WaitOutcome> {
    this.waited.push({ ready, gone, timeoutMs, ...(programmed !== undefined && { programmed }) });
    if (this.outcome !== undefined) return Promise.resolve(this.outcome);
    const isApplied = revision <= this.appliedRevision;
    if (isApplied && gone.length === 0 && [...ready, ...(programmed ?? [])].every((id) => this.ready.has(id)))
      return Promise.resolve("done");
    if (timeoutMs === 0) return Promise.resolve("timeout");
    return new Promise((resolve) => {
      const finish = (outcome: WaitOutcome) => {
        clearTimeout(timer);
        this.#waiters.delete(finish);
        resolve(outcome);
      };
      const timer = setTimeout(() => finish("timeout"), timeoutMs);
      signal.addEventListener("abort", () => finish("stopping"), { once: true });
      this.#waiters.add(finish);
    });
  }

  finish(outcome: WaitOutcome): void {
    for (const finish of [...this.#waiters]) finish(outcome);
  }

  view(): ViewPort {
    return {
      state: this.#state.current,
      isObjectReady: (id) => this.ready.has(id),
      statusOf: (id) => this.#statusOf(id),
      briefStatusOf: (id) => this.#statusOf(id),
      hasReason: (id, reason) => this.reasons.get(id) === reason,
      *prepare() {},
    };
  }

  *summary(): Chunked<GatewayStatus> {
    yield;
    const { revision, generation } = this.#state.current.desired;
    return {
      version: "0.0.0",
      epoch,
      degraded: [],
      generation: { desired: generation, applied: 0 },
      revision: { desired: revision, applied: 0 },
      objects: { eips: { total: 0, ready: 0, notReady: 0 } },
      lastReconcile: null,
      backend: "nftables",
      gate: "open",
      untranslated: "forward",
      bfdGate: "off",
      interfaces: {},
    };
  }
}

export class FakeFlows implements FlowsPort {
  report: Awaited<ReturnType<FlowsPort["ports"]>> = {
    capacity: 64_512,
    destinations: [],
    headroom: 64_512,
    uncounted: 0,
    scannedAt: startedAt,
  };
  items: readonly TopItem[] = [];
  readonly asked: unknown[] = [];

  async ports(eip: Ip) {
    this.asked.push(eip);
    return this.report;
  }

  async top(by: TopSubject, limit: number) {
    this.asked.push({ by, limit });
    return { by, items: this.items.slice(0, limit), uncounted: 0, scannedAt: startedAt };
  }

  async who(query: WhoQuery): ReturnType<FlowsPort["who"]> {
    this.asked.push(query);
    return { items: [], complete: false, log: { level: "off", from: null, gaps: [] } };
  }
}

export class FakeReconciler implements ReconcilerPort {
  network: ObservedNetwork | undefined = { links: [], addresses: [], routes: [], sysctls: new Map() };
  ownAddresses: ReadonlySet<Ip> = new Set();
  orphans: ReadonlySet<Ip> = new Set();
  isUnadopted = false;
  commonRulesFault: string | undefined;
  firstPass = Promise.resolve();
  wakes: string[] = [];
  askedAgain: { readonly ids: readonly ObjectId[]; readonly timeoutMs: number }[] = [];
  previewed: State[] = [];
  released: Ip[] = [];
  next: DryRun = { changes: [], changesTotal: 0, flows: { total: 0, items: [] } };
  flows: { total: number; flows: readonly Flow[] } = { total: 0, flows: [] };
  limits: number[] = [];
  /** The error of every call to the kernel. */
  failure: Error | undefined;

  wake(reason: string): void {
    this.wakes.push(reason);
  }

  announced = 0;
  readonly gate = {
    acceptOnceQuiet: () => {
      this.announced++;
    },
    expectMore: () => () => undefined,
  };

  async probeFor(ids: readonly ObjectId[], timeoutMs: number): Promise<number> {
    this.askedAgain.push({ ids, timeoutMs });
    return timeoutMs;
  }

  onReconcile = (): void => undefined;

  async reconcile(reason: string): Promise<PassReport> {
    if (this.failure !== undefined) throw this.failure;
    this.onReconcile();
    return {
      startedAt,
      took: 0.25,
      reasons: [reason],
      observed: { rules: 3, addresses: 2, routes: 1 },
      changed: 0,
      changes: [],
      failed: [],
      flowsRemoved: 0,
    };
  }

  async preview(state: State): Promise<DryRun> {
    if (this.failure !== undefined) throw this.failure;
    this.previewed.push(state);
    return this.next;
  }

  audits = 0;
  async audit(): Promise<DryRun> {
    if (this.failure !== undefined) throw this.failure;
    this.audits++;
    return this.next;
  }

  /** What {@link importLive} finds. */
  imported: Imported = {
    set: { gateway: {}, eips: [], fips: [], snats: [], dnats: [], limits: [], routes: [] },
    unread: [],
  };
  readonly imports: { readonly isAdopted: boolean; readonly ifMatch: IfMatch | undefined }[] = [];

  async importLive(isAdopted: boolean, ifMatch: IfMatch | undefined): Promise<ImportedState> {
    if (this.failure !== undefined) throw this.failure;
    this.imports.push({ isAdopted, ifMatch });
    return { ...this.imported, state: emptyState };
  }

  async connections(_eip: Ip, limit: number): Promise<{ total: number; flows: readonly Flow[] }> {
    this.limits.push(limit);
    return this.flows;
  }

  /** What {@link explain} was asked. */
  readonly questions: Question[] = [];
  async explain(question: Question): Promise<Explanation> {
    if (this.failure !== undefined) throw this.failure;
    this.questions.push(question);
    return {
      verdict: "local",
      code: "Local",
      basis: "rules",
      steps: [],
      translated: null,
      reverse: null,
      unchecked: [],
    };
  }

  async release({ address }: ReleaseRequest) {
    this.released.push(address);
    return {
      changes: [{ action: "remove", subsystem: "address", text: `${address}/24 dev net1` } as const],
      foreignRules: ["-A INPUT -d 203.0.113.99/32 -j ACCEPT"],
    };
  }
}

export interface TestApi {
  readonly api: Api;
  readonly app: Api["app"];
  readonly state: MemoryState;
  readonly board: FakeBoard;
  readonly reconciler: FakeReconciler;
  readonly events: EventHub;
  readonly flows: FakeFlows;
  /** Log lines of level info and above. */
  readonly lines: Record<string, unknown>[];
  readonly observed: { readonly route: string; readonly code: number }[];
  readonly socketPath: string;
  readonly now: { bootMs: number; wallMs: number };
}

/** @param parts replacements for the fakes */
export function testApi(settings: Partial<ApiSettings> = {}, parts: Partial<ApiDeps> = {}): TestApi {
  const state = new MemoryState();
  const board = new FakeBoard(state);
  const reconciler = new FakeReconciler();
  const events = new EventHub({
    epoch,
    start: 1_000,
    desired: () => state.current.desired,
    usersByEip: usersByEipChunked,
    nowMs: () => performance.now(),
    wallMs: () => Date.parse(startedAt),
  });
  const flows = new FakeFlows();
  const lines: Record<string, unknown>[] = [];
  const observed: { route: string; code: number }[] = [];
  const now = { bootMs: 1_000, wallMs: Date.parse(startedAt) };
  const socketPath = settings.socketPath ?? nextSocketPath();
  const api = createApi({
    state,
    board,
    reconciler,
    events,
    audit: undefined,
    eventReaders: { onCount: () => undefined, onCutOff: () => undefined },
    diagnostics: { read: async (part) => `# ${part}\n` },
    flows,
    doctor: { examine: async () => ({ checkedAt: startedAt, checks: [] }) },
    clock: { now: (): Instant => ({ bootId: "boot-1", ...now }) },
    metrics: new Registry(),
    observeRequest: (route, code) => observed.push({ route, code }),
    log: pino({ level: "info" }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    version: "0.0.0",
    settings: {
      socketPath,
      listen: [],
      vpcInterface: "eth0" as InterfaceName,
      externalInterface: "net1" as InterfaceName,
      fallbackGateway: undefined,
      tokenFile: undefined,
      tls: undefined,
      socketUids: new Set([process.geteuid?.() ?? 0]),
      metricsAccess: "read",
      drainMs: 2_000,
      ...settings,
    },
    ...parts,
  });
  api.app.addHook("onSend", async (_request, _reply, payload) => {
    if (typeof payload === "string") expectNoSecret("an answer", payload);
  });
  api.app.addHook("onClose", async () => expectNoSecret("the log", JSON.stringify(lines)));
  return { api, app: api.app, state, board, reconciler, events, flows, lines, observed, socketPath, now };
}

/** A full set of `count` EIPs with one FIP each. */
export function largeSet(count: number, generation = 1): Record<string, unknown> {
  const index = Array.from({ length: count }, (_, number) => number);
  return {
    generation,
    eips: index.map((i) => ({ name: `eip-${i}`, address: `198.18.${(i >> 8) & 255}.${i & 255}/15` })),
    fips: index.map((i) => ({
      name: `fip-${i}`,
      eip: `eip-${i}`,
      internalIp: `10.0.${(i >> 8) & 255}.${i & 255}`,
    })),
    snats: [],
    dnats: [],
    routes: [],
  };
}
