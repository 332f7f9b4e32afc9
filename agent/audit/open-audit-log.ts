/** The audit log as the settings want it. */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../status/metrics.ts";
import { AuditLog } from "./audit-log.ts";

export interface AuditLogDeps {
  readonly config: Pick<Config, "auditLog" | "auditLogMax" | "stateDir">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly metrics: Pick<Metrics, "auditRecords" | "auditLost">;
  readonly log: Pick<Log, "error" | "info">;
}

/** `undefined` if there is none. Nothing is opened before the first record. */
export function openAuditLog({ config, clock, metrics, log }: AuditLogDeps): AuditLog | undefined {
  if (config.auditLog === "off") return undefined;
  return new AuditLog({
    path: config.auditLog ?? join(config.stateDir, "audit.log"),
    maxBytes: config.auditLogMax,
    now: clock.wallMs,
    onWritten: (records) => metrics.auditRecords.inc(records),
    onLost: (records, reason) => metrics.auditLost.inc({ reason }, records),
    log,
  });
}
