/** `natgwctl connections`: the live flows of an EIP, or the clients with the most. */
import { counted, percent } from "../../../lib/text/quantities.ts";
import { lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseNumber } from "../arguments.ts";
import { flowColumns } from "../changes.ts";
import type { Context } from "../context.ts";
import type { Flow, FlowList } from "../documents.ts";
import { askOfEip } from "../eips.ts";

const maxLimit = 1_000;
const maxClients = 20;

export interface ConnectionOptions {
  readonly limit?: string;
  readonly top?: boolean;
}

interface Share {
  readonly ip: string;
  readonly flows: number;
  readonly share: number;
}

export async function connections(
  { api }: Context,
  eip: string,
  options: ConnectionOptions,
): Promise<Answer> {
  const limit = options.limit === undefined ? undefined : parseNumber(options.limit, "--limit", 1, maxLimit);
  const query = { limit: options.top ? maxLimit : (limit ?? 100) };
  const { name, found: list } = await askOfEip(api, eip, (one) =>
    api.get<FlowList>(`/v1/eips/${encodeURIComponent(one)}/connections`, { query }),
  );
  if (options.top) return topAnswer(name, list, limit ?? maxClients);
  return {
    data: { eip: name, ...list },
    names: [...new Set(list.items.map(({ original }) => original.src))],
    sections: () => [
      ...(list.items.length === 0 ? [] : [{ block: table(flowColumns, list.items) }]),
      { block: lines(totalText(list)) },
    ],
  };
}

function totalText({ total, items }: FlowList): string {
  const all = counted(total, "live flow");
  return items.length < total ? `${all}, of which ${items.length} are shown` : all;
}

function topAnswer(eip: string, list: FlowList, limit: number): Answer {
  const inside = shares(list.items, limit, insideOf);
  const outside = shares(list.items, limit, outsideOf);
  const model = { eip, total: list.total, counted: list.items.length, inside, outside };
  return {
    data: model,
    names: inside.map(({ ip }) => ip),
    sections: () => [
      section("Inside the VPC", inside),
      section("Outside", outside),
      { block: lines(totalText(list)) },
    ],
  };
}

function section(heading: string, rows: readonly Share[]): Section {
  return {
    heading: { text: heading, style: "strong" },
    block: table<Share>(
      [
        { head: "IP", cell: ({ ip }) => ip },
        { head: "FLOWS", isRight: true, cell: ({ flows }) => String(flows) },
        { head: "SHARE", isRight: true, cell: ({ share }) => percent(share) },
      ],
      rows,
    ),
  };
}

/** The VPC's end: who asks, where the source is translated, else who answers. */
function insideOf({ natStatus, original, reply }: Flow): string {
  return natStatus === "snat" ? original.src : reply.src;
}

function outsideOf({ natStatus, original, reply }: Flow): string {
  return natStatus === "snat" ? reply.src : original.src;
}

function shares(flows: readonly Flow[], limit: number, ipOf: (flow: Flow) => string): readonly Share[] {
  const counts = new Map<string, number>();
  for (const flow of flows) counts.set(ipOf(flow), (counts.get(ipOf(flow)) ?? 0) + 1);
  return [...counts]
    .map(([ip, count]) => ({ ip, flows: count, share: count / flows.length }))
    .sort((a, b) => b.flows - a.flows)
    .slice(0, limit);
}
