/** Flows: the ports of EIPs and who has most of them, by the last scan; who had a port, by the live flows and the flow log. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { WhoQuery } from "../../../lib/flow-log/who.ts";
import type { InputIssue } from "../../../lib/model/errors.ts";
import { parseIp } from "../../../lib/model/families.ts";
import { addressOf, type Ip } from "../../../lib/model/ip.ts";
import { objectId, parseObjectName } from "../../../lib/model/names.ts";
import type { TopSubject } from "../../../lib/ports/top.ts";
import type { RouteContext } from "../deps.ts";
import { portsSchema, topSchema, topSubjectSchema, whoSchema } from "../flow-responses.ts";
import { notFound } from "../problem.ts";
import { limitParameter, parseLimit, querySchema } from "../query.ts";
import { requestSignal } from "../request-signal.ts";
import { namePath, responses } from "../responses.ts";
import { invalid } from "../validation.ts";

/** Only the first answers after a start have to wait for a scan. */
const deadlineMs = 60_000;
const limits = { default: 20, most: 1_000 } as const;

export function flowRoutes(app: FastifyInstance, context: RouteContext): void {
  const { flows, state, stopping } = context;

  app.get<{ Params: { name: string } }>(
    "/v1/eips/:name/ports",
    {
      schema: {
        operationId: "getEipPorts",
        tags: ["eips"],
        summary: "The ports in use towards the EIP's worst destinations, and how long they last",
        params: namePath,
        response: responses({ 200: portsSchema }),
      },
    },
    async (request, reply) => {
      const name = parseObjectName(request.params.name);
      const eip = name === undefined ? undefined : state.current.desired.eips.get(name);
      if (eip === undefined) throw notFound(objectId("eip", request.params.name));
      const signal = requestSignal(reply, stopping, deadlineMs);
      return flows.ports(addressOf(eip.spec.address), signal);
    },
  );

  app.get<{ Querystring: { by: TopSubject; limit?: string } }>(
    "/v1/flows/top",
    {
      schema: {
        operationId: "listTopFlows",
        tags: ["flows"],
        summary: "Who has most live ports of EIPs, or flows: clients, destinations or EIPs",
        querystring: querySchema({
          by: topSubjectSchema,
          limit: Type.Optional(limitParameter(limits)),
        }),
        response: responses({ 200: topSchema }),
      },
    },
    async (request, reply) => {
      const limit = parseLimit(request.query.limit, limits);
      return flows.top(request.query.by, limit, requestSignal(reply, stopping, deadlineMs));
    },
  );

  app.get<{ Querystring: WhoParameters }>(
    "/v1/flows/who",
    {
      schema: {
        operationId: "findPortUsers",
        tags: ["flows"],
        summary: "Who had a port of an EIP: live flows first, then the flow log",
        querystring: querySchema({
          eip: Type.String({ maxLength: 253, description: "An address, or the name of an Eip" }),
          port: Type.String({
            pattern: "^[0-9]{1,5}$",
            description: "A port from 0 to 65535; 0 for ICMP",
            documented: { type: "integer", minimum: 0, maximum: 65_535 },
          }),
          protocol: Type.Optional(Type.Enum([...protocols], { title: "PortUserProtocol" })),
          at: Type.Optional(
            Type.String({
              maxLength: 64,
              description: "A time such as 2026-01-31T12:00:00Z; now or lately if absent",
            }),
          ),
        }),
        response: responses({ 200: whoSchema }),
      },
    },
    async (request, reply) => {
      const query = parseWho(request.query, (name) => {
        const parsed = parseObjectName(name);
        const eip = parsed === undefined ? undefined : state.current.desired.eips.get(parsed);
        return eip && addressOf(eip.spec.address);
      });
      return flows.who(query, requestSignal(reply, stopping, deadlineMs));
    },
  );
}

interface WhoParameters {
  readonly eip: string;
  readonly port: string;
  readonly protocol?: string;
  readonly at?: string;
}

const protocols = ["tcp", "udp", "sctp", "icmp"] as const;
/** RFC 3339: with a time zone, so that nobody has to guess. */
const timePattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

/** Throws `invalid` with a pointer to each parameter that is wrong. */
function parseWho(
  { eip, port, protocol, at }: WhoParameters,
  addressOfName: (name: string) => Ip | undefined,
): WhoQuery {
  const issues: InputIssue[] = [];
  const address = parseIp(eip) ?? addressOfName(eip);
  if (address === undefined)
    issues.push({ pointer: "/query/eip", message: "must be an address, or the name of an Eip" });
  const number = Number(port);
  if (number > 65_535) issues.push({ pointer: "/query/port", message: "must be a port from 0 to 65535" });
  const atMs = at === undefined ? undefined : timePattern.test(at) ? Date.parse(at) : Number.NaN;
  if (Number.isNaN(atMs)) {
    const message = "must be a time with its zone, such as 2026-01-31T12:00:00Z";
    issues.push({ pointer: "/query/at", message });
  }
  if (address === undefined || issues.length > 0) throw invalid(issues);
  return { eip: address, port: number, protocol, atMs };
}
