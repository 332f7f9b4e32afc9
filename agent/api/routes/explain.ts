/** What becomes of a packet, and why. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import {
  type ExplainedProtocol,
  explainCodes,
  explainedProtocols,
  type Question,
  stages,
  stepResults,
  verdicts,
} from "../../../lib/explain/explanation.ts";
import { eipNamesOf } from "../../../lib/explain/objects.ts";
import type { ObjectReason } from "../../../lib/explain/world.ts";
import type { InputIssue } from "../../../lib/model/errors.ts";
import { addressOf, type Ip } from "../../../lib/model/ip.ts";
import { type ObjectId, objectId, parseObjectName } from "../../../lib/model/names.ts";
import { IpSchema } from "../../../lib/model/schema.ts";
import type { RouteContext } from "../deps.ts";
import type { ViewPort } from "../ports.ts";
import { notFound } from "../problem.ts";
import { querySchema } from "../query.ts";
import { requestSignal } from "../request-signal.ts";
import { responses, share } from "../responses.ts";
import { invalid } from "../validation.ts";

const deadlineMs = 30_000;

const port = Type.Optional(
  Type.String({
    pattern: "^[0-9]{1,5}$",
    description: "A port from 1 to 65535",
    documented: { type: "integer", minimum: 1, maximum: 65_535 },
  }),
);
const anyPort = Type.Optional(Type.Integer({ minimum: 0 }));
const endsSchema = Type.Object(
  {
    source: Type.Optional(IpSchema),
    sourcePort: anyPort,
    destination: Type.Optional(IpSchema),
    destinationPort: anyPort,
  },
  { title: "PacketEnds", description: "Absent: any, or drawn at random" },
);

const explanationSchema = share(
  "Explanation",
  Type.Object({
    verdict: Type.Enum([...verdicts], { title: "Verdict" }),
    code: Type.Enum([...explainCodes], { title: "ExplainCode" }),
    basis: Type.Enum(["flow", "rules"], {
      title: "ExplainBasis",
      description: "flow: a flow that exists decides",
    }),
    steps: Type.Array(
      share(
        "ExplainStep",
        Type.Object({
          stage: Type.Enum([...stages], { title: "ExplainStage" }),
          result: Type.Enum([...stepResults], { title: "StepResult" }),
          object: Type.Optional(Type.String()),
          rule: Type.Optional(Type.String({ description: "In the words of its tool" })),
          detail: Type.String(),
        }),
      ),
    ),
    translated: Type.Union([endsSchema, Type.Null()], { description: "The packet as it leaves the gateway" }),
    reverse: Type.Union([endsSchema, Type.Null()], { description: "The answer as it comes to the gateway" }),
    unchecked: Type.Array(Type.String(), { description: "What the answer does not cover" }),
  }),
);

interface ExplainQuery {
  readonly from?: Ip;
  readonly to?: Ip;
  readonly eip?: string;
  readonly protocol?: ExplainedProtocol;
  readonly port?: string;
  readonly sourcePort?: string;
}

export function explainRoutes(app: FastifyInstance, context: RouteContext): void {
  app.get<{ Querystring: ExplainQuery }>(
    "/v1/explain",
    {
      schema: {
        operationId: "explain",
        tags: ["gateway"],
        summary: "Explains what becomes of a packet: from and to, or eip for the way in",
        querystring: querySchema({
          from: Type.Optional(IpSchema),
          to: Type.Optional(IpSchema),
          eip: Type.Optional(
            Type.String({
              maxLength: 253,
              description: "The name or address of an Eip: what comes from outside",
            }),
          ),
          protocol: Type.Optional(
            Type.Enum([...explainedProtocols], { title: "ExplainedProtocol", description: "tcp if absent" }),
          ),
          port,
          sourcePort: port,
        }),
        response: responses({ 200: explanationSchema }),
      },
    },
    async (request, reply) => {
      const question = await questionOf(request.query, context);
      const view = context.board.view();
      const signal = requestSignal(reply, context.stopping, deadlineMs);
      return context.reconciler.explain(question, (id) => reasonOf(id, view), signal);
    },
  );
}

/** @throws `invalid`, `not-found` */
async function questionOf(query: ExplainQuery, context: RouteContext): Promise<Question> {
  const { from, to, eip, protocol = "tcp" } = query;
  const issues: InputIssue[] = [];
  const portOf = (name: "port" | "sourcePort"): number | undefined => {
    const text = query[name];
    if (text === undefined) return undefined;
    const number = Number(text);
    const message =
      protocol === "icmp"
        ? "must be absent with icmp"
        : number < 1 || number > 65_535
          ? "must be from 1 to 65535"
          : "";
    if (message !== "") issues.push({ pointer: `/query/${name}`, message });
    return number;
  };
  const ports = { port: portOf("port"), sourcePort: portOf("sourcePort") };
  if (eip !== undefined) {
    for (const name of ["from", "to"] as const)
      if (query[name] !== undefined)
        issues.push({ pointer: `/query/${name}`, message: "must be absent with eip" });
    if (protocol !== "icmp" && query.port === undefined)
      issues.push({ pointer: "/query/port", message: "is missing" });
  } else {
    if (from === undefined) issues.push({ pointer: "/query/from", message: "is missing, and so is eip" });
    if (to === undefined) issues.push({ pointer: "/query/to", message: "is missing" });
  }
  if (issues.length > 0) throw invalid(issues);
  const destination = eip === undefined ? to : await addressOfEip(eip, context);
  if (destination === undefined) throw notFound(objectId("eip", eip ?? ""));
  return { from, to: destination, protocol, ...ports };
}

async function addressOfEip(text: string, { state, answers }: RouteContext): Promise<Ip | undefined> {
  const { desired } = state.current;
  const name = parseObjectName(text);
  const named = name === undefined ? undefined : desired.eips.get(name);
  if (named !== undefined) return addressOf(named.spec.address);
  const names = await answers.turns.run(eipNamesOf(desired));
  return names.has(text as Ip) ? (text as Ip) : undefined;
}

/** Also says why an object that is Ready has no rule of its own. */
function reasonOf(id: ObjectId, view: ViewPort): ObjectReason | undefined {
  const { conditions } = view.statusOf(id);
  const ready = conditions.find(({ type }) => type === "Ready");
  if (ready === undefined || ready.reason === "Ready") return undefined;
  return { reason: ready.reason, message: ready.message };
}
