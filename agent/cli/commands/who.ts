/** `natgwctl who`: which client had a port of an EIP. */
import { type Column, lines, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseTime } from "../arguments.ts";
import type { Context } from "../context.ts";
import { UsageFailure } from "../failures.ts";
import { value } from "../objects.ts";

export interface WhoOptions {
  readonly proto: string;
  readonly at?: string;
}

/** A flow that had the port, live or from the log. */
type Holder = Readonly<Record<string, unknown>>;

interface Who {
  readonly items?: readonly Holder[];
  readonly [member: string]: unknown;
}

export async function who(
  { api, nowMs }: Context,
  endText: string,
  { proto, at }: WhoOptions,
): Promise<Answer> {
  const [, eip, port] = /^(.+):(\d{1,5})$/.exec(endText) ?? [];
  if (eip === undefined) throw new UsageFailure(`EIP:PORT is missing its port: ${endText}`);
  const time = at === undefined ? undefined : new Date(parseTime(at, "--at", nowMs())).toISOString();
  const found = await api.get<Who>("/v1/flows/who", { query: { eip, port, protocol: proto, at: time } });
  const items = found.items ?? [];
  return {
    data: found,
    names: [...new Set(items.map((item) => value(clientOf(item))))],
    sections: () => [
      ...(items.length === 0
        ? [
            {
              block: lines({
                text: `nobody had ${endText} ${time === undefined ? "now" : `at ${time}`}`,
                style: "warn" as const,
              }),
            },
          ]
        : [{ block: table(columns, items) }]),
    ],
    exitCode: items.length === 0 ? 1 : 0,
  };
}

function clientOf({ client, original }: Holder): unknown {
  return client ?? (original as { readonly src?: unknown } | undefined)?.src;
}

const columns: readonly Column<Holder>[] = [
  { head: "CLIENT", cell: (item) => value(clientOf(item)) },
  { head: "PROTO", cell: ({ protocol }) => value(protocol) },
  { head: "DESTINATION", cell: ({ destination, reply }) => value(destination ?? reply) },
  { head: "SOURCE", cell: ({ source, basis }) => value(source ?? basis) },
  { head: "FROM", cell: ({ startedAt, from }) => value(startedAt ?? from) },
  { head: "TO", cell: ({ endedAt, to }) => value(endedAt ?? to) },
];
