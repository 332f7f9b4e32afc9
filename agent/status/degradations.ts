/** Why the gateway is less than whole: `degraded` of `GET /v1/status`, and `natgw_degraded`. docs/api.md says what each asks for. */
import { isAllRecognized } from "../../lib/model/unrecognized.ts";
import { arpIgnoring, isForwarding } from "../../lib/plan/network/sysctls.ts";
import type { PassResult } from "../reconciler/pass/pass-result.ts";
import { describeUnrecognized } from "../store/recovery.ts";
import type { SummaryDeps } from "./summary.ts";

/** Other programs alert on these: a reason keeps its name. */
export const degradedReasons = [
  "StateCorrupt",
  "StateTooNew",
  "StateFromNewerVersion",
  "StorageUnavailable",
  "MixedVariants",
  "PassFailing",
  "NotVerified",
  "NotAdopted",
  "GateClosed",
  "ForwardingOff",
  "InterfaceMissing",
  "InterfaceDown",
  "ArpIgnored",
  "NoOwnAddress",
  "AddressConflict",
  "Quarantined",
  "Fighting",
  "StepsFailing",
  "FlowsShadowed",
] as const;

export interface Degradation {
  readonly reason: (typeof degradedReasons)[number];
  readonly message: string;
}

type Add = (reason: Degradation["reason"], message: string) => void;

/** Every reason that holds now; none is a whole gateway. */
export function degradations({
  store,
  reconciler,
  interfaces,
  conflicts,
}: SummaryDeps): readonly Degradation[] {
  const { findings, failure } = reconciler;
  const list: Degradation[] = [];
  const add: Add = (reason, message) => list.push({ reason, message });
  const { recovery } = store;
  if (recovery.recovered === "corrupt" && !store.current.isSet) add("StateCorrupt", recovery.detail);
  if (recovery.recovered === "too-new") add("StateTooNew", recovery.detail);
  if (!isAllRecognized(store.current.unrecognized))
    add("StateFromNewerVersion", describeUnrecognized(recovery.unrecognized ?? []));
  if (store.failure !== undefined) add("StorageUnavailable", store.failure.message);
  if (failure !== undefined)
    add(failure.code === "mixed-variants" ? "MixedVariants" : "PassFailing", failure.message);
  else if (findings === undefined) add("NotVerified", "the first full pass has not come to its end yet");
  if (findings === undefined) return list;
  judgePassing(findings, add);
  judgeLinks(findings, interfaces, add);
  judgeClaims(conflicts, add);
  judgeRest(findings, add);
  return list;
}

/** Whether packets are let through at all. */
function judgePassing({ verdicts, gate, residual, seen }: PassResult, add: Add): void {
  if (verdicts === undefined) {
    add(
      "NotAdopted",
      "the kernel holds rules that no accepted write asked for: nothing is changed until a full set is PUT",
    );
    return;
  }
  if (gate === "closed")
    add("GateClosed", "nothing is forwarded from the VPC to the outside until every rule is verified");
  if (!isForwarding(residual.compiled.program, seen.network))
    add("ForwardingOff", "packets are not forwarded, and net.ipv4.ip_forward could not be set");
}

function judgeLinks({ seen, residual }: PassResult, interfaces: SummaryDeps["interfaces"], add: Add): void {
  const { program } = residual.compiled;
  const { links } = seen.network;
  const names = new Set(links.map(({ name }) => name));
  const absent = [interfaces.vpc, interfaces.external].filter((name) => !names.has(name));
  if (absent.length > 0) add("InterfaceMissing", `there is no interface ${absent.join(" and no ")}`);
  const down = links.filter(({ name, isUp }) => Object.values(interfaces).includes(name) && !isUp);
  if (down.length > 0) add("InterfaceDown", `${down.map(({ name }) => name).join(" and ")} down`);
  const deaf = arpIgnoring(program, seen.network);
  if (deaf.length > 0) add("ArpIgnored", `arp_ignore keeps ${deaf.join()} from answering for some addresses`);
  const { anchors } = residual.addresses;
  if (anchors.length > 0) {
    const message = `no address but EIPs: ${anchors.join()} keeps one beside its route, or all routes would go with the last`;
    add("NoOwnAddress", message);
  }
}

function judgeClaims(conflicts: SummaryDeps["conflicts"], add: Add): void {
  const [first] = conflicts;
  if (first === undefined) return;
  const [address, mac] = first;
  const more = conflicts.size === 1 ? "" : `, and ${conflicts.size - 1} more EIPs are claimed`;
  add("AddressConflict", `${mac} claims the EIP ${address} too${more}`);
}

function judgeRest({ residual, fights, refusals, sweep }: PassResult, add: Add): void {
  const { blocked } = residual.compiled;
  const quarantined = [...blocked.values()].filter(({ reason }) => reason === "Quarantined").length;
  if (quarantined > 0) add("Quarantined", `the kernel refused ${quarantined} objects`);
  const [fight, ...others] = fights;
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
}
