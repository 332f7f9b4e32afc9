/** The rows in the order of measurement: first those that share a loaded gateway. */
import type { Row } from "./measurement.ts";
import { accountingRow, scrapeRow } from "./rows/accounting.ts";
import { crowdsRow } from "./rows/crowds.ts";
import { deletesRow } from "./rows/deletes.ts";
import { eventLoopRow } from "./rows/event-loop.ts";
import { fullPassRow } from "./rows/full-pass.ts";
import { growthRow } from "./rows/growth.ts";
import { idleRow } from "./rows/idle.ts";
import { kubeOvnCallsRow } from "./rows/kube-ovn-calls.ts";
import { leaksRow } from "./rows/leaks.ts";
import { natgwctlRow } from "./rows/natgwctl.ts";
import { newFlowsRow } from "./rows/new-flows.ts";
import { oneByOneRow } from "./rows/one-by-one.ts";
import { iptablesChangeRow, nftablesChangeRow } from "./rows/one-change.ts";
import { programRow } from "./rows/program.ts";
import { repairRow } from "./rows/repair.ts";
import { responsivenessRow } from "./rows/responsiveness.ts";
import { scansRow } from "./rows/scans.ts";
import { startRow } from "./rows/start.ts";
import { writersRow } from "./rows/writers.ts";

export const rows: readonly Row[] = [
  idleRow,
  fullPassRow,
  nftablesChangeRow,
  iptablesChangeRow,
  newFlowsRow,
  accountingRow,
  scrapeRow,
  repairRow,
  deletesRow,
  programRow,
  responsivenessRow,
  leaksRow,
  growthRow,
  oneByOneRow,
  startRow,
  writersRow,
  eventLoopRow,
  crowdsRow,
  kubeOvnCallsRow,
  natgwctlRow,
  scansRow,
];

export const rowIds = rows.map(({ id }) => id).sort((a, b) => Number(a) - Number(b));
