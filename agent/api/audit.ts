/** What the audit log says of a request that may write: who, what, and how it ended. No bodies, and of the query only what is known. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { recordOf } from "../../lib/kinds/registry.ts";
import { kindOfCollection } from "../../lib/model/names.ts";
import type { Desired } from "../../lib/state/desired.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { StateAccess } from "../store/state-access.ts";
import { isWrite } from "./access.ts";
import { anonymous } from "./identity.ts";
import type { Listener } from "./listeners.ts";
import type { ClockPort } from "./ports.ts";
import { codeOf, pathOf } from "./problem.ts";

/** `undefined`: there is none. */
export type AuditPort = Pick<AuditLog, "append" | "read" | "failure"> | undefined;

/** What a write stored. */
export interface StoredWrite {
  readonly before: Pick<Desired, "revision" | "generation">;
  readonly after: Pick<Desired, "revision" | "generation">;
  readonly written?: number;
  readonly removed?: number;
}

interface AuditDeps {
  readonly audit: AuditPort;
  readonly state: Pick<StateAccess, "current">;
  readonly clock: ClockPort;
}

const longestPath = 512;
const longestValue = 253;
/** Anything else is refused, and may be a secret. */
const recordedQuery = ["wait", "dryRun", "uid", "cascade", "from", "adopt"] as const;
/** Whoever has no access must not fill the log: of their requests one is recorded in this time. */
const refusalPauseMs = 1_000;
const refusals: ReadonlySet<number> = new Set([401, 403, 429, 503]);

export class AuditTrail {
  readonly #deps: AuditDeps;
  readonly #stored = new WeakMap<FastifyReply, StoredWrite>();
  readonly #recorded = new WeakSet<FastifyReply>();
  #refusedAtMs = Number.NEGATIVE_INFINITY;
  #skipped = 0;

  constructor(deps: AuditDeps) {
    this.#deps = deps;
  }

  /** The request that `reply` answers stored this. */
  note(reply: FastifyReply, stored: StoredWrite): void {
    this.#stored.set(reply, stored);
  }

  /** Records every answer of `app` to a write, also if the client is gone. */
  watch(app: FastifyInstance, listenerOf: (request: IncomingMessage) => Listener | undefined): void {
    const { audit } = this.#deps;
    if (audit === undefined) return;
    app.addHook("onSend", async (request, reply) => {
      if (!isWrite(request.method) || this.#recorded.has(reply)) return;
      this.#recorded.add(reply);
      const isRefused = refusals.has(reply.statusCode) && !this.#stored.has(reply);
      if (isRefused && !this.#isDue()) return;
      const isLocal = listenerOf(request.raw)?.kind !== "tcp";
      const skipped = isRefused && this.#skipped > 0 ? { skipped: this.#skipped } : {};
      if (isRefused) this.#skipped = 0;
      audit.append({ ...this.#record(request, reply, isLocal), ...skipped });
    });
  }

  #isDue(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#refusedAtMs < refusalPauseMs) {
      this.#skipped += 1;
      return false;
    }
    this.#refusedAtMs = nowMs;
    return true;
  }

  #record(request: FastifyRequest, reply: FastifyReply, isLocal: boolean) {
    const { state, clock } = this.#deps;
    const code = codeOf(reply);
    const { desired } = state.current;
    const { before, after, ...counts } = this.#stored.get(reply) ?? { before: desired, after: desired };
    return {
      time: new Date(clock.now().wallMs).toISOString(),
      identity: request.identity ?? anonymous,
      ...(!isLocal && { client: request.ip }),
      method: request.method,
      path: pathOf(request).slice(0, longestPath),
      ...objectOf(request),
      ...queryOf(request),
      status: reply.statusCode,
      ...(code !== undefined && { code }),
      before: { generation: before.generation, revision: before.revision },
      after: { generation: after.generation, revision: after.revision },
      ...counts,
    };
  }
}

/** The object that the path names. */
function objectOf({ routeOptions, params }: FastifyRequest) {
  const kind = kindOfCollection(routeOptions.url?.split("/")[2] ?? "");
  const { name } = Object(params);
  if (kind === undefined || name === undefined) return {};
  return { kind: recordOf(kind).title, name: String(name).slice(0, longestValue) };
}

function queryOf({ query }: FastifyRequest) {
  const given = Object.entries(typeof query === "object" && query !== null ? query : {});
  const known = given.filter(([name]) => recordedQuery.some((recorded) => recorded === name));
  if (known.length === 0) return {};
  return {
    query: Object.fromEntries(known.map(([name, value]) => [name, String(value).slice(0, longestValue)])),
  };
}
