/** `natgwctl doctor`: every check that the agent can make by itself, and what to do. */
import { withCommands } from "../../../lib/doctor/remedies.ts";
import { counted } from "../../../lib/text/quantities.ts";
import { type Cell, lines, type Style, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import type { Context } from "../context.ts";
import type { Doctor } from "../documents.ts";

type Check = Doctor["checks"][number];

/** The order of the table, and its colours. */
const results: Readonly<Record<string, Style>> = {
  failed: "bad",
  uncertain: "warn",
  skipped: "dim",
  ok: "good",
};
/** A check asks other hosts and waits for them. */
const timeoutMs = 120_000;

export async function doctor({ api }: Context): Promise<Answer> {
  const document = await api.get<Doctor>("/v1/doctor", { timeoutMs });
  const order = Object.keys(results);
  const checks = [...document.checks].sort((a, b) => order.indexOf(a.result) - order.indexOf(b.result));
  const failed = checks.filter(({ result }) => result === "failed");
  return {
    data: { ...document, checks },
    names: failed.map(({ check }) => check),
    sections: () => [
      {
        block: table<Check>(
          [
            { head: "CHECK", cell: ({ check }) => check },
            { head: "RESULT", cell: resultCell },
            {
              head: "DETAIL",
              cell: ({ detail, remedy }) => (remedy === "" ? detail : `${detail} -> ${withCommands(remedy)}`),
              gives: "wrap",
            },
          ],
          checks,
        ),
      },
      { block: lines(summary(checks)) },
    ],
    exitCode: failed.length === 0 ? 0 : 1,
  };
}

function resultCell({ result }: Check): Cell {
  const style = results[result];
  return style === undefined ? result : { text: result, style };
}

function summary(checks: readonly Check[]): Cell {
  const counts = Object.keys(results).map(
    (result) => [result, checks.filter((one) => one.result === result).length] as const,
  );
  const text = counts.flatMap(([result, count]) => (count === 0 ? [] : [`${count} ${result}`])).join(", ");
  return `${counted(checks.length, "check")}: ${text}`;
}
