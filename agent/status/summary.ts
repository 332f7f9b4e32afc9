/** The gateway as a whole: `GET /v1/status`. */

import type { Degradation } from "../../lib/model/degradation.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { PassReport } from "../reconciler/pass/report.ts";
import type { Reconciler } from "../reconciler/reconciler.ts";
import type { StateStore } from "../store/open-store.ts";
import type { StatusBoard } from "./board.ts";
import { degradations } from "./degradations.ts";

export interface GatewayStatus {
  readonly version: string;
  readonly epoch: string;
  /** Why the gateway is less than whole, in stable words: `NotAdopted`, `MixedVariants`, `ForwardingOff`, `StateCorrupt` ... */
  readonly degraded: readonly { readonly reason: string; readonly message: string }[];
  readonly generation: { readonly desired: number; readonly applied: number };
  readonly revision: { readonly desired: number; readonly applied: number };
  readonly objects: Readonly<
    Record<string, { readonly total: number; readonly ready: number; readonly notReady: number }>
  >;
  readonly lastReconcile: PassReport | null;
  readonly backend: string;
  readonly gate: "open" | "closed" | "unknown";
  readonly interfaces: Readonly<
    Record<
      string,
      {
        readonly name: string;
        readonly present: boolean;
        readonly up: boolean;
        readonly mac: string;
        readonly addresses: readonly string[];
      }
    >
  >;
}

export interface SummaryDeps {
  /** What the API says of itself. */
  readonly api: readonly Degradation[];
  readonly version: string;
  readonly epoch: string;
  readonly backend: string;
  readonly interfaces: { readonly vpc: InterfaceName; readonly external: InterfaceName };
  readonly store: Pick<StateStore, "current" | "recovery" | "failure">;
  readonly board: Pick<StatusBoard, "counts" | "appliedRevision" | "appliedGeneration">;
  readonly reconciler: Pick<Reconciler, "result" | "lastReport" | "failure" | "network">;
}

export function summarize(parts: SummaryDeps): GatewayStatus {
  const { version, epoch, backend, store, board, reconciler, interfaces } = parts;
  const { desired } = store.current;
  const { result } = reconciler;
  return {
    version,
    epoch,
    degraded: degradations(parts),
    generation: { desired: desired.generation, applied: board.appliedGeneration },
    revision: { desired: desired.revision, applied: board.appliedRevision },
    objects: board.counts(),
    lastReconcile: reconciler.lastReport ?? null,
    backend,
    gate: result?.gate ?? "unknown",
    interfaces: {
      vpc: interfaceOf(interfaces.vpc, reconciler.network),
      external: interfaceOf(interfaces.external, reconciler.network),
    },
  };
}

function interfaceOf(
  name: InterfaceName,
  network: ObservedNetwork | undefined,
): GatewayStatus["interfaces"][string] {
  const link = network?.links.find((candidate) => candidate.name === name);
  const addresses = (network?.addresses ?? [])
    .filter((address) => address.interface === name)
    .map(({ address, prefixLength }) => `${address}/${prefixLength}`);
  return { name, present: link !== undefined, up: link?.isUp ?? false, mac: link?.mac ?? "", addresses };
}
