/** The gateway as a whole: `GET /v1/status`. */

import type { Chunked } from "../../lib/chunked.ts";
import type { Degradation } from "../../lib/model/degradation.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Config } from "../config.ts";
import type { PassReport } from "../reconciler/pass/report.ts";
import type { Reconciler } from "../reconciler/reconciler.ts";
import type { StateStore } from "../store/open-store.ts";
import type { StatusBoard } from "./board.ts";
import type { ObjectCounts } from "./board-view.ts";
import { degradations } from "./degradations.ts";

export interface GatewayStatus {
  readonly version: string;
  readonly epoch: string;
  /**
   * Why the gateway is degraded. Reasons are stable words: `NotAdopted`, `MixedVariants`, `ForwardingOff`,
   * `StateCorrupt` ...
   */
  readonly degraded: readonly { readonly reason: string; readonly message: string }[];
  readonly generation: { readonly desired: number; readonly applied: number };
  readonly revision: { readonly desired: number; readonly applied: number };
  readonly objects: ObjectCounts;
  readonly lastReconcile: PassReport | null;
  readonly backend: string;
  /** Closed: what is not translated does not leave the VPC, with `untranslated` "drop" for good. */
  readonly gate: "open" | "closed" | "unknown";
  readonly untranslated: "forward" | "drop";
  /** Closed: BFD with the VPC is dropped. "off": it never is. */
  readonly bfdGate: "open" | "closed" | "unknown" | "off";
  readonly interfaces: Readonly<Record<string, InterfaceStatus>>;
}

export interface InterfaceStatus {
  readonly name: string;
  readonly present: boolean;
  readonly up: boolean;
  readonly mac: string;
  readonly addresses: readonly string[];
}

/** Takes a few milliseconds. */
const objectsPerPart = 5_000;

export interface SummaryDeps {
  /** Reasons reported by the API itself. */
  readonly api: readonly Degradation[];
  readonly version: string;
  readonly epoch: string;
  readonly backend: string;
  readonly interfaces: { readonly vpc: InterfaceName; readonly external: InterfaceName };
  readonly config: Pick<Config, "untranslated" | "bfdGate">;
  readonly store: Pick<StateStore, "current" | "recovery" | "failure">;
  readonly board: Pick<StatusBoard, "view" | "appliedRevision" | "appliedGeneration">;
  readonly reconciler: Pick<Reconciler, "result" | "lastReport" | "failure" | "network" | "adoption">;
}

/** What a scrape of the metrics needs of it. */
export type GatewayHealth = Pick<GatewayStatus, "degraded" | "generation" | "objects">;

/** Takes long with thousands of objects that changed since the last call, so it yields between its parts. */
export function* healthOf(parts: SummaryDeps): Chunked<GatewayHealth> {
  const { store, board } = parts;
  const objects = yield* board.view().counts();
  return {
    degraded: degradations(parts),
    generation: { desired: store.current.desired.generation, applied: board.appliedGeneration },
    objects,
  };
}

/** The same with everything else. */
export function* summarize(parts: SummaryDeps): Chunked<GatewayStatus> {
  const { version, epoch, backend, config, store, board, reconciler, interfaces } = parts;
  const health = yield* healthOf(parts);
  const { network } = reconciler;
  const vpc = yield* interfaceOf(interfaces.vpc, network);
  const external = yield* interfaceOf(interfaces.external, network);
  const { desired } = store.current;
  const { result } = reconciler;
  return {
    version,
    epoch,
    ...health,
    revision: { desired: desired.revision, applied: board.appliedRevision },
    lastReconcile: reconciler.lastReport ?? null,
    backend,
    gate: result?.gate ?? "unknown",
    untranslated: config.untranslated,
    bfdGate: config.bfdGate === "off" ? "off" : (result?.bfd ?? "unknown"),
    interfaces: { vpc, external },
  };
}

function* interfaceOf(name: InterfaceName, network: ObservedNetwork | undefined): Chunked<InterfaceStatus> {
  const link = network?.links.find((candidate) => candidate.name === name);
  const addresses: string[] = [];
  for (const [index, entry] of (network?.addresses ?? []).entries()) {
    if (index % objectsPerPart === objectsPerPart - 1) yield;
    if (entry.interface === name) addresses.push(`${entry.address}/${entry.prefixLength}`);
  }
  return { name, present: link !== undefined, up: link?.isUp ?? false, mac: link?.mac ?? "", addresses };
}
