/** `natgwctl plan`, `repair` and `verify`: the difference between what is desired and what the kernel holds. */
import { counted, took } from "../../../lib/text/quantities.ts";
import { type Cell, lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { brokenFlowSections, changeSections, objectsOf } from "../changes.ts";
import type { Context } from "../context.ts";
import type { FlowList, GatewayStatus, PassReport, PlanDocument } from "../documents.ts";

const passTimeoutMs = 310_000;

export async function plan({ api }: Context): Promise<Answer> {
  const [document, gateway] = await Promise.all([
    api.get<PlanDocument>("/v1/plan"),
    api.get<GatewayStatus>("/v1/status"),
  ]);
  return planAnswer(document, gateway, "Nothing to change.", "A pass would make");
}

/** The same after reading everything again. */
export async function verify({ api }: Context): Promise<Answer> {
  const document = await api.get<PlanDocument>("/v1/plan", {
    query: { fresh: true },
    timeoutMs: passTimeoutMs,
  });
  const gateway = await api.get<GatewayStatus>("/v1/status");
  return planAnswer(document, gateway, "The kernel holds what is desired.", "The kernel differs:");
}

/** Only a fresh plan lists flows. */
const noFlows: FlowList = { total: 0, items: [] };

/** An unadopted gateway plans nothing, whatever it holds. */
function planAnswer(
  { changes, total, flows = noFlows }: PlanDocument,
  { degraded }: GatewayStatus,
  same: string,
  different: string,
): Answer {
  const doubts = degraded.filter(({ reason }) =>
    ["NotAdopted", "MixedVariants", "KernelUnreadable", "PassFailing"].includes(reason),
  );
  return {
    data: { changes, total, flows, unknown: doubts },
    names: objectsOf(changes),
    sections: () => [
      ...(total === 0
        ? [
            {
              block: lines(
                doubts.length === 0
                  ? { text: same, style: "good" }
                  : { text: "Not everything is known.", style: "warn" },
              ),
            },
          ]
        : changeSections(changes, total, `${different} ${counted(total, "change")}`)),
      ...brokenFlowSections(flows, "No object permits"),
      ...(doubts.length === 0
        ? []
        : [
            {
              block: lines(
                ...doubts.map(
                  ({ reason, message }): Cell => ({ text: `${reason}: ${message}`, style: "warn" }),
                ),
              ),
            },
          ]),
    ],
    exitCode: total === 0 && flows.total === 0 && doubts.length === 0 ? 0 : 1,
  };
}

export async function repair({ api }: Context): Promise<Answer> {
  const { body: report } = await api.call<PassReport>("post", "/v1/reconcile", { timeoutMs: passTimeoutMs });
  return {
    data: report,
    names: objectsOf(report.changes),
    sections: () => reportSections(report),
    exitCode: report.failed.length === 0 ? 0 : 1,
  };
}

type Failed = PassReport["failed"][number];

function reportSections(report: PassReport): readonly Section[] {
  const { failed, changes, changed, observed, flowsRemoved } = report;
  return [
    ...(failed.length === 0
      ? []
      : [
          {
            heading: { text: `${counted(failed.length, "step")} failed`, style: "bad" as const },
            block: table<Failed>(
              [
                { head: "OBJECT", cell: ({ object = "-" }) => object, gives: "middle" },
                { head: "STAGE", cell: ({ stage }) => stage },
                { head: "CODE", cell: ({ code }) => code },
                {
                  head: "MESSAGE",
                  cell: ({ message, text }) => (text === undefined ? message : `${message} (${text})`),
                  gives: "wrap",
                },
              ],
              failed,
            ),
          },
        ]),
    ...(changed === 0 ? [] : changeSections(changes, changed, `Made ${counted(changed, "change")}`)),
    {
      block: lines(
        `Read ${counted(observed.rules, "rule")}, ${counted(observed.addresses, "address", "addresses")} and ${counted(observed.routes, "route")}; ` +
          `made ${counted(changed, "change")}, ended ${counted(flowsRemoved, "flow")}, in ${took(report.took)}.`,
      ),
    },
  ];
}
