/** `natgwctl explain`: what becomes of a packet, and why. */
import { type Cell, lines, type Section, type Style, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseNumber } from "../arguments.ts";
import type { Context } from "../context.ts";
import type { Explanation } from "../documents.ts";
import { eipIn } from "../eips.ts";
import { UsageFailure } from "../failures.ts";

type Ends = NonNullable<Explanation["translated"]>;
type Step = Explanation["steps"][number];

export interface ExplainOptions {
  readonly from?: string;
  readonly to?: string;
  readonly in?: string;
  readonly proto?: string;
  readonly port?: string;
  readonly sport?: string;
}

/** Verdicts of packets that go where they should. */
const goodVerdicts = ["delivered", "local"];

export async function explain({ api }: Context, options: ExplainOptions): Promise<Answer> {
  const { from, to, in: eip, proto, port, sport } = options;
  if (eip === undefined && (from === undefined || to === undefined))
    throw new UsageFailure("give --from and --to, or --in for what comes from outside");
  if (eip !== undefined && (from !== undefined || to !== undefined))
    throw new UsageFailure("--in cannot be given with --from or --to");
  for (const [option, text] of Object.entries({ "--port": port, "--sport": sport }))
    if (text !== undefined) parseNumber(text, option, 1, 65_535);
  if (eip !== undefined && port === undefined && proto !== "icmp")
    throw new UsageFailure("--in needs --port, except for icmp");
  const query = {
    ...(eip === undefined ? { from, to } : { eip: eipIn(eip) }),
    protocol: proto,
    port,
    sourcePort: sport,
  };
  const explanation = await api.get<Explanation>("/v1/explain", { query });
  return {
    data: explanation,
    names: [...new Set(explanation.steps.flatMap(({ object }) => object ?? []))],
    sections: () => sectionsOf(explanation),
    exitCode: goodVerdicts.includes(explanation.verdict) ? 0 : 1,
  };
}

function sectionsOf({
  verdict,
  code,
  basis,
  steps,
  translated,
  reverse,
  unchecked,
}: Explanation): readonly Section[] {
  const style = goodVerdicts.includes(verdict) ? "good" : verdict === "unknown" ? "warn" : "bad";
  return [
    {
      block: lines(
        { text: `${verdict.toUpperCase()}  ${code}`, style },
        `decided by ${basis === "flow" ? "a flow that exists" : "the rules"}`,
        ...(translated === null ? [] : [`leaves as   ${endsText(translated)}`]),
        ...(reverse === null ? [] : [`answer is   ${endsText(reverse)}`]),
      ),
    },
    {
      block: table<Step>(
        [
          { head: "STAGE", cell: ({ stage }) => stage },
          { head: "RESULT", cell: resultCell },
          { head: "OBJECT", cell: ({ object = "-" }) => object, gives: "middle" },
          {
            head: "DETAIL",
            cell: ({ detail, rule }) => (rule === undefined ? detail : `${detail} [${rule}]`),
            gives: "wrap",
          },
        ],
        steps,
      ),
    },
    ...(unchecked.length === 0
      ? []
      : [
          {
            heading: { text: "Not checked", style: "dim" as const },
            block: lines(...unchecked.map((one) => `  ${one}`)),
          },
        ]),
  ];
}

const styles: Readonly<Record<string, Style>> = {
  stops: "bad",
  unknown: "warn",
  translates: "good",
  none: "dim",
};

function resultCell({ result }: Step): Cell {
  const style = styles[result];
  return style === undefined ? result : { text: result, style };
}

function endsText({ source = "any", sourcePort, destination = "any", destinationPort }: Ends): string {
  const end = (ip: string, port: number | undefined) =>
    port === undefined || port === 0 ? ip : `${ip}:${port}`;
  return `${end(source, sourcePort)} > ${end(destination, destinationPort)}`;
}
