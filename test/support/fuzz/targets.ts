/** Everything that takes input from outside the process, but the HTTP API, which has to be started. */
import { auditTarget } from "./audit-target.ts";
import { fileTargets } from "./file-targets.ts";
import { netlinkTargets } from "./netlink-targets.ts";
import { stateTarget } from "./state-target.ts";
import type { Target } from "./target.ts";
import { textTargets } from "./text-targets.ts";

export const parserTargets: readonly Target[] = [
  ...textTargets,
  ...netlinkTargets,
  ...fileTargets,
  stateTarget,
  auditTarget,
];
