/** `natgwctl ports` and `top`: the ports of EIPs that are in use, and who uses them. */
import { age, ageOf, counted, grouped, percent } from "../../../lib/text/quantities.ts";
import { type Cell, type Column, lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import type { Api } from "../api.ts";
import { parseNumber } from "../arguments.ts";
import { end } from "../changes.ts";
import type { Context } from "../context.ts";
import type { ObjectList, Ports, TopFlows } from "../documents.ts";
import { askOfEip } from "../eips.ts";

type Destination = Ports["destinations"][number];
type TopItem = TopFlows["items"][number];

/** From this share on, ports run short. */
const tight = 0.8;
/** EIPs without a name on the command line: their worst destination, so many at once. */
const atOnce = 8;
const maxEips = 200;

export async function ports(context: Context, eip: string | undefined): Promise<Answer> {
  return eip === undefined ? portsOfAll(context) : portsOfOne(context, eip);
}

async function portsOfOne({ api, nowMs }: Context, eip: string): Promise<Answer> {
  const { name, found } = await askOfEip(api, eip, (one) => readPorts(api, one));
  const isTight = found.destinations.some(({ ratio }) => ratio >= tight);
  return {
    data: { eip: name, ...found },
    names: found.destinations.map(({ dst, dport, protocol }) => `${protocol}/${end(dst, dport)}`),
    sections: () => [
      { block: lines(summaryText(found, nowMs())) },
      ...(found.destinations.length === 0 ? [] : [{ block: table(destinationColumns, found.destinations) }]),
    ],
    exitCode: isTight ? 1 : 0,
  };
}

function readPorts(api: Api, eip: string): Promise<Ports> {
  return api.get<Ports>(`/v1/eips/${encodeURIComponent(eip)}/ports`);
}

function summaryText({ capacity, headroom, scannedAt, uncounted = 0 }: Ports, nowMs: number): string {
  const when = scannedAt === undefined ? "" : `, counted ${ageOf(scannedAt, nowMs)} ago`;
  const more = uncounted > 0 ? `; ${counted(uncounted, "flow")} not counted` : "";
  return `${counted(capacity, "port")} towards each destination, ${grouped(headroom)} left at the worst${when}${more}`;
}

const destinationColumns: readonly Column<Destination>[] = [
  { head: "DESTINATION", cell: ({ dst, dport, protocol }) => `${protocol} ${end(dst, dport)}` },
  { head: "LIVE", isRight: true, cell: ({ live }) => grouped(live) },
  { head: "CLOSING", isRight: true, cell: ({ closing }) => grouped(closing) },
  { head: "USE", isRight: true, cell: ({ ratio }) => useCell(ratio) },
  {
    head: "NEW/S",
    isRight: true,
    cell: ({ newPerSecond }) => (newPerSecond === null ? "unknown" : newPerSecond.toFixed(1)),
  },
  { head: "80% IN", isRight: true, cell: ({ secondsTo80 }) => inTime(secondsTo80) },
  { head: "FULL IN", isRight: true, cell: ({ secondsToFull }) => inTime(secondsToFull) },
  { head: "EIPS NEEDED", isRight: true, cell: ({ additionalEipsNeeded }) => String(additionalEipsNeeded) },
  {
    head: "TOP CLIENTS",
    cell: ({ topClients }) => topClients.map(({ ip, share }) => `${ip} ${percent(share)}`).join(", ") || "-",
    gives: "wrap",
  },
];

function useCell(ratio: number): Cell {
  if (ratio >= tight) return { text: percent(ratio), style: "bad" };
  return ratio >= 0.5 ? { text: percent(ratio), style: "warn" } : percent(ratio);
}

/** The agent tells no time while use does not grow. */
function inTime(seconds: number | null): string {
  return seconds === null ? "-" : age(seconds);
}

interface Worst {
  readonly eip: string;
  readonly ports: Ports;
  readonly worst: Destination | undefined;
}

/** The worst destination of each EIP; EIPs with the highest use first. */
async function portsOfAll({ api }: Context): Promise<Answer> {
  const { items } = await api.get<ObjectList>("/v1/eips");
  const asked = await busiest(
    api,
    items.map(({ name }) => name),
  );
  const found: Worst[] = [];
  for (let at = 0; at < asked.length; at += atOnce) {
    const part = asked.slice(at, at + atOnce).map(async (eip): Promise<Worst> => {
      const ports = await readPorts(api, eip);
      return { eip, ports, worst: ports.destinations[0] };
    });
    found.push(...(await Promise.all(part)));
  }
  found.sort((a, b) => (b.worst?.ratio ?? 0) - (a.worst?.ratio ?? 0));
  const left = items.length - asked.length;
  return {
    data: { items: found.map(({ eip, ports }) => ({ eip, ...ports })), notAsked: left },
    names: found.map(({ eip }) => `eips/${eip}`),
    sections: () => [
      { block: table(worstColumns, found) },
      ...(left > 0
        ? [{ block: lines(`${counted(left, "more Eip")} with fewer flows not asked: natgwctl ports EIP`) }]
        : []),
    ],
    exitCode: found.some(({ worst }) => worst !== undefined && worst.ratio >= tight) ? 1 : 0,
  };
}

/** Of many those with the most flows: an EIP whose ports run short is among them. */
async function busiest(api: Api, names: readonly string[]): Promise<readonly string[]> {
  if (names.length <= maxEips) return names;
  const top = await api.get<TopFlows>("/v1/flows/top", { query: { by: "eips", limit: maxEips } });
  const present = new Set(names);
  const busy = top.items.flatMap(({ eip }) => (eip !== undefined && present.has(eip) ? [eip] : []));
  return [...new Set([...busy, ...names])].slice(0, maxEips);
}

const worstColumns: readonly Column<Worst>[] = [
  { head: "EIP", cell: ({ eip }) => eip, gives: "middle" },
  { head: "USE", isRight: true, cell: ({ worst }) => (worst === undefined ? "0%" : useCell(worst.ratio)) },
  { head: "HEADROOM", isRight: true, cell: ({ ports }) => grouped(ports.headroom) },
  {
    head: "WORST DESTINATION",
    cell: ({ worst }) => (worst === undefined ? "-" : `${worst.protocol} ${end(worst.dst, worst.dport)}`),
  },
  { head: "LIVE", isRight: true, cell: ({ worst }) => grouped(worst?.live ?? 0) },
  { head: "CLOSING", isRight: true, cell: ({ worst }) => grouped(worst?.closing ?? 0) },
];

export async function top(
  { api, nowMs }: Context,
  by: string,
  { limit }: { readonly limit: string },
): Promise<Answer> {
  const query = { by, limit: parseNumber(limit, "--limit", 1, 1_000) };
  const found = await api.get<TopFlows>("/v1/flows/top", { query });
  const isOfEips = by === "eips";
  return {
    data: found,
    names: found.items.map(({ ip, eip }) => (isOfEips && eip !== undefined ? `eips/${eip}` : ip)),
    sections: (): readonly Section[] => [
      {
        block: table<TopItem>(
          [
            ...(isOfEips
              ? [{ head: "EIP", cell: ({ eip = "-" }: TopItem) => eip, gives: "middle" as const }]
              : []),
            { head: isOfEips ? "ADDRESS" : by === "clients" ? "CLIENT" : "DESTINATION", cell: subject },
            { head: isOfEips ? "FLOWS" : "PORTS", isRight: true, cell: ({ live }) => grouped(live) },
            { head: "CLOSING", isRight: true, cell: ({ closing }) => grouped(closing) },
          ],
          found.items,
        ),
      },
      ...(found.scannedAt === undefined
        ? []
        : [
            {
              block: lines({ text: `counted ${ageOf(found.scannedAt, nowMs())} ago`, style: "dim" as const }),
            },
          ]),
    ],
  };
}

function subject({ ip, port = 0, protocol }: TopItem): string {
  return `${protocol === undefined ? "" : `${protocol} `}${end(ip, port)}`;
}
