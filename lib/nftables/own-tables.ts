/** The tables that the agent makes. */
import { accountingTable } from "./accounting.ts";
import { apiTable } from "./api-guard.ts";
import { backendsTable } from "./backends.ts";
import { tableLabel } from "./family.ts";
import { filterTableNames } from "./filter-table-names.ts";
import type { TableLabel } from "./foreign.ts";
import { tableName } from "./maps.ts";
import { qosTable } from "./qos.ts";

/** Another table whose name begins like theirs may drop packets like any other program's. */
export const ownTables: ReadonlySet<TableLabel> = new Set([
  ...[tableName, ...Object.values(filterTableNames), accountingTable, qosTable, backendsTable].map(
    tableLabel,
  ),
  `inet ${apiTable}`,
]);
