/** The gateway as a whole: `GET /v1/status`, and why it is less than whole. */

import type { InterfaceName } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import { arpIgnoring, isForwarding } from "../../lib/plan/sysctls.ts";
import type { GatewayStatus } from "../api/ports.ts";
import type { Reconciler } from "../reconciler/reconciler.ts";
import type { StateStore } from "../store/open-store.ts";
import type { StatusBoard } from "./board.ts";

export interface SummaryParts {
  readonly version: string;
  readonly epoch: string;
  readonly backend: string;
  readonly interfaces: { readonly vpc: InterfaceName; readonly external: InterfaceName };
  readonly store: Pick<StateStore, "current" | "recovery" | "failure">;
  readonly board: Pick<StatusBoard, "counts" | "appliedRevision" | "appliedGeneration">;
  readonly reconciler: Pick<Reconciler, "findings" | "lastReport" | "failure">;
}

export interface Degradation {
  readonly reason: string;
  readonly message: string;
}

export function summarize(parts: SummaryParts): GatewayStatus {
  const { version, epoch, backend, store, board, reconciler, interfaces } = parts;
  const { desired } = store.current;
  const { findings } = reconciler;
  return {
    version,
    epoch,
    degraded: degradations(parts),
    generation: { desired: desired.generation, applied: board.appliedGeneration },
    revision: { desired: desired.revision, applied: board.appliedRevision },
    objects: board.counts(),
    lastReconcile: reconciler.lastReport ?? null,
    backend,
    gate: findings?.gate ?? "unknown",
    interfaces: {
      vpc: interfaceOf(interfaces.vpc, findings?.seen.network),
      external: interfaceOf(interfaces.external, findings?.seen.network),
    },
  };
}

/** Every reason that holds now, each once; none is a whole gateway. */
export function degradations({ store, reconciler, interfaces }: SummaryParts): readonly Degradation[] {
  const { findings, failure } = reconciler;
  const list: Degradation[] = [];
  const add = (reason: string, message: string) => list.push({ reason, message });
  const { recovery } = store;
  if (recovery.recovered === "corrupt" && !store.current.isSet) add("StateCorrupt", recovery.detail);
  if (store.failure !== undefined) add("StorageUnavailable", store.failure.message);
  if (failure !== undefined)
    add(failure.code === "mixed-variants" ? "MixedVariants" : "PassFailing", failure.message);
  if (findings === undefined) return list;

  const { seen, residual, refusals, sweep } = findings;
  const { program, blocked } = residual.compiled;
  if (findings.verdicts === undefined) {
    add(
      "NotAdopted",
      "the kernel holds rules that no accepted write asked for: nothing is changed until a full set is PUT",
    );
  } else if (!isForwarding(program, seen.network)) {
    add("ForwardingOff", "packets are not forwarded, and net.ipv4.ip_forward could not be set");
  }
  const names = new Set(seen.network.links.map(({ name }) => name));
  const absent = [interfaces.vpc, interfaces.external].filter((name) => !names.has(name));
  if (absent.length > 0) add("InterfaceMissing", `there is no interface ${absent.join(" and no ")}`);
  const down = seen.network.links.filter(
    ({ name, isUp }) => Object.values(interfaces).includes(name) && !isUp,
  );
  if (down.length > 0) add("InterfaceDown", `${down.map(({ name }) => name).join(" and ")} down`);
  const deaf = arpIgnoring(program, seen.network);
  if (deaf.length > 0) add("ArpIgnored", `arp_ignore keeps ${deaf.join()} from answering for some addresses`);
  const { anchors } = residual.addresses;
  if (anchors.length > 0) {
    const message = `no address but EIPs: ${anchors.join()} keeps one beside its route, or all routes would go with the last`;
    add("NoOwnAddress", message);
  }
  const quarantined = [...blocked.values()].filter(({ reason }) => reason === "Quarantined").length;
  if (quarantined > 0) add("Quarantined", `the kernel refused ${quarantined} objects`);
  const [fight, ...others] = findings.fights;
  if (fight !== undefined) {
    const more = others.length === 0 ? "" : `, and ${others.length} more`;
    add("Fighting", `somebody undid ${fight.repairs} times: ${fight.change.text}${more}`);
  }
  for (const stage of new Set(refusals.map((refusal) => refusal.stage))) {
    const of = refusals.filter((refusal) => refusal.stage === stage);
    add("StepsFailing", `${stage}: ${of.length} refused, the first: ${of[0]?.message}`);
  }
  if (sweep !== undefined && sweep.shadowed > 0) {
    add("FlowsShadowed", `${sweep.shadowed} flows come back as often as they are ended`);
  }
  return list;
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
