/** All reasons why the gateway is degraded: `degraded` in `GET /v1/status`, and metric `natgw_degraded`. */
import type { Unread } from "../../lib/import/read-rules.ts";
import type { Degradation } from "../../lib/model/degradation.ts";
import type { GatewayError } from "../../lib/model/errors.ts";
import { isAllRecognized } from "../../lib/state/unrecognized.ts";
import { counted } from "../../lib/text/quantities.ts";
import type { PassResult } from "../reconciler/pass/pass-result.ts";
import type { StateStore } from "../store/open-store.ts";
import { describeUnrecognized } from "../store/recovery.ts";

export interface DegradationSources {
  /** Reasons reported by the API itself. */
  readonly api: readonly Degradation[];
  readonly store: Pick<StateStore, "current" | "recovery" | "failure">;
  readonly reconciler: {
    readonly result: PassResult | undefined;
    readonly failure: GatewayError | undefined;
    readonly adoption: { readonly unread: readonly Unread[]; readonly refusal: string | undefined };
  };
}

type Add = (reason: Degradation["reason"], message: string) => void;

/** An empty list means that the gateway is healthy. */
export function degradations({ api, store, reconciler }: DegradationSources): readonly Degradation[] {
  const { result, failure } = reconciler;
  const { unread, refusal } = reconciler.adoption;
  const list: Degradation[] = [...api];
  const add: Add = (reason, message) => list.push({ reason, message });
  const { recovery } = store;
  if (recovery.recovered === "corrupt" && !store.current.isSet) add("StateCorrupt", recovery.detail);
  if (recovery.recovered === "too-new") add("StateTooNew", recovery.detail);
  if (!isAllRecognized(store.current.unrecognized))
    add("StateFromNewerVersion", describeUnrecognized(recovery.unrecognized ?? []));
  if (store.failure !== undefined) add("StorageUnavailable", store.failure.message);
  if (failure !== undefined)
    add(failure.code === "mixed-variants" ? "MixedVariants" : "PassFailing", failure.message);
  else if (result === undefined) add("NotVerified", "the first full pass has not ended yet");
  addUnread(unread, add);
  if (result === undefined) return list;
  if (result.verdicts === undefined)
    add(
      "NotAdopted",
      `the kernel holds rules or EIPs that no accepted write asked for: the agent changes nothing until a full set is PUT or the live state is imported${refusal === undefined ? "" : `. NATGW_ADOPT=auto does not: ${refusal}`}`,
    );
  addNotices(result, list);
  addFailures(result, add);
  return list;
}

/** Reasons that say nothing before adoption: until then the agent does not manage gate and forwarding. */
const managedReasons: ReadonlySet<Degradation["reason"]> = new Set([
  "GateClosed",
  "UntranslatedForwarded",
  "ForwardingOff",
]);

/** What of the live state was lost when it was taken over. */
function addUnread(unread: readonly Unread[], add: Add): void {
  const [first] = unread;
  if (first === undefined) return;
  const more = unread.length === 1 ? "" : `, and ${unread.length - 1} more; the log lists all`;
  add("ImportIncomplete", `not taken over: ${first.what} (${first.where}): ${first.why}${more}`);
}

/** The notices of each subsystem. Two equal notices are reported once. */
function addNotices({ planAfter, verdicts }: PassResult, list: Degradation[]): void {
  for (const { notices } of planAfter.parts.values()) {
    for (const notice of notices) {
      if (verdicts === undefined && managedReasons.has(notice.reason)) continue;
      if (list.every(({ reason, message }) => reason !== notice.reason || message !== notice.message))
        list.push(notice);
    }
  }
}

function addFailures({ blocked, throttled, failures }: PassResult, add: Add): void {
  const quarantined = [...blocked.values()].filter(({ reason }) => reason === "Quarantined").length;
  if (quarantined > 0) add("Quarantined", `the kernel refused ${counted(quarantined, "object")}`);
  const [repair, ...others] = throttled;
  if (repair !== undefined) {
    const more = others.length === 0 ? "" : `, and ${others.length} more`;
    add(
      "Fighting",
      `another program undid a repair ${counted(repair.repairs, "time")}: ${repair.change.text}${more}`,
    );
  }
  for (const [stage, of] of Map.groupBy(failures, (failure) => failure.stage))
    add("StepsFailing", `${stage}: ${counted(of.length, "step")} failed, first error: ${of[0]?.message}`);
}
