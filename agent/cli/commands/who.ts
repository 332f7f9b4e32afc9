/** `natgwctl who`: which client had a port of an EIP. */
import { ageOf } from "../../../lib/text/quantities.ts";
import { type Cell, type Column, lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseNumber, parseTime } from "../arguments.ts";
import { end } from "../changes.ts";
import type { Context } from "../context.ts";
import type { Who } from "../documents.ts";
import { eipIn } from "../eips.ts";
import { UsageFailure } from "../failures.ts";

type Holder = Who["items"][number];

export interface WhoOptions {
  /** Absent: whichever. */
  readonly proto?: string;
  readonly at?: string;
}

export async function who(
  { api, nowMs }: Context,
  endText: string,
  { proto, at }: WhoOptions,
): Promise<Answer> {
  const [, eip, port] = /^(.+):(\d{1,5})$/.exec(endText) ?? [];
  if (eip === undefined || port === undefined)
    throw new UsageFailure(`EIP:PORT is missing its port: ${endText}`);
  parseNumber(port, "the port", 0, 65_535);
  const time = at === undefined ? undefined : new Date(parseTime(at, "--at", nowMs())).toISOString();
  const found = await api.get<Who>("/v1/flows/who", {
    query: { eip: eipIn(eip), port, protocol: proto, at: time },
  });
  return {
    data: found,
    names: [...new Set(found.items.map(({ ip }) => ip))],
    sections: () =>
      sectionsOf(found, `${endText} ${time === undefined ? "now or lately" : `at ${time}`}`, nowMs()),
    exitCode: found.items.length === 0 ? 1 : 0,
  };
}

function sectionsOf({ items, complete, log }: Who, asked: string, nowMs: number): readonly Section[] {
  const nobody: Cell = complete
    ? `nobody had ${asked}`
    : { text: `no flow of ${asked} is known, and not every flow is`, style: "warn" };
  const logged = log.from === null ? `flow log ${log.level}` : `flow log ${log.level}, since ${log.from}`;
  const doubt: Cell = { text: `other flows may be unknown (${logged})`, style: "warn" };
  return [
    items.length === 0 ? { block: lines(nobody) } : { block: table(columns(nowMs), items) },
    ...(complete || items.length === 0 ? [] : [{ block: lines(doubt) }]),
  ];
}

function columns(nowMs: number): readonly Column<Holder>[] {
  return [
    { head: "CLIENT", cell: ({ ip, port }) => end(ip, port) },
    { head: "DIRECTION", cell: ({ direction }) => direction },
    { head: "PROTO", cell: ({ protocol }) => protocol },
    { head: "PEER", cell: ({ peer }) => end(peer.ip, peer.port) },
    { head: "OBJECT", cell: ({ object = "-" }) => object, gives: "middle" },
    {
      head: "START",
      isRight: true,
      cell: ({ start }) => (start === null ? "unknown" : `${ageOf(start, nowMs)} ago`),
    },
    {
      head: "END",
      isRight: true,
      cell: (item): Cell => {
        if (item.endLost === true) return { text: "lost", style: "warn" };
        return item.end === null ? { text: "lives", style: "good" } : `${ageOf(item.end, nowMs)} ago`;
      },
    },
  ];
}
