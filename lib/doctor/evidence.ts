/** What the checks look at: what was observed. */
import type { Degradation } from "../model/degradation.ts";
import type { InterfaceName, ObjectId } from "../model/names.ts";
import type { Reason } from "../model/status.ts";
import type { NearlyFullEip } from "../ports/nearly-full.ts";

export interface NotReadyObject {
  readonly id: ObjectId;
  readonly reason: Reason;
  readonly message: string;
}

export interface Evidence {
  readonly interfaces: { readonly vpc: InterfaceName; readonly external: InterfaceName };
  /** By the last pass, and by the reading of now. */
  readonly degraded: readonly Degradation[];
  readonly notReady: readonly NotReadyObject[];
  readonly objectCount: number;
  /** What a pass would change now, as text. */
  readonly pending: readonly string[];
  /** True if the gate stays closed for what is not translated (`NATGW_UNTRANSLATED=drop`). */
  readonly isGateKept: boolean;
  readonly eips: EipEvidence;
  /** The EIPs with few ports left, the worst first. `undefined`: nobody could count. */
  readonly ports: readonly NearlyFullEip[] | undefined;
  readonly conntrack: { readonly count: number | undefined; readonly max: number | undefined };
  readonly clock: { readonly wallMs: number; readonly isSynchronized: boolean | undefined };
  readonly disk: DiskSpace | undefined;
  readonly tools: readonly ToolVersion[];
}

export interface EipEvidence {
  /** The EIPs that are held. */
  readonly held: number;
  /** Those that packets from outside came to, by flows that exist now. */
  readonly heard: number;
}

export interface DiskSpace {
  readonly directory: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly freeFiles: number;
}

export interface ToolVersion {
  readonly tool: string;
  /** `undefined`: it cannot be run. */
  readonly version: string | undefined;
  /** Tools of one group must have one version. */
  readonly group: string;
  readonly isNeeded: boolean;
}
