/** Objects of every kind: list, read, put and delete. */
import type { FastifyInstance } from "fastify";
import { type TSchema, Type } from "typebox";
import { deleteObjectChunked } from "../../../lib/admission/delete-object.ts";
import { putObjectChunked } from "../../../lib/admission/put-object.ts";
import { recordOf, type Spec, type SpecOf } from "../../../lib/kinds/registry.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import {
  type Collection,
  collectionOf,
  type Kind,
  kinds,
  type ObjectName,
  objectId,
  parseObjectName,
} from "../../../lib/model/names.ts";
import { ObjectNameSchema, UidSchema } from "../../../lib/model/schema.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import { LazyList } from "../answers/json-parts.ts";
import type { RouteContext } from "../deps.ts";
import { type ObjectDocument, objectDocument } from "../documents.ts";
import { etagOf, parseIfMatch, parsePreconditions } from "../etag.ts";
import { eventIdHeader } from "../event-id-header.ts";
import { listSchema, objectSchema, objectWrittenSchema } from "../object-schemas.ts";
import type { ViewPort } from "../ports.ts";
import { notFound } from "../problem.ts";
import { flagParameter, parseFlag, querySchema, type WriteQuery, writeParameters } from "../query.ts";
import {
  ifMatchHeader,
  namePath,
  noContent,
  preconditionHeaders,
  previewSchema,
  responses,
} from "../responses.ts";
import { invalid } from "../validation.ts";
import { write } from "../write.ts";

export function objectRoutes(app: FastifyInstance, context: RouteContext): void {
  for (const kind of kinds) kindRoutes(app, context, kind);
}

interface NamePath {
  readonly name: string;
}

function kindRoutes(app: FastifyInstance, context: RouteContext, kind: Kind): void {
  const collection = collectionOf(kind);
  const { title } = recordOf(kind);
  const [object, written] = [objectSchema(kind), objectWrittenSchema(kind)];
  const one = `/v1/${collection}/:name`;

  app.get<{ Querystring: { ready?: string } }>(
    `/v1/${collection}`,
    {
      schema: {
        operationId: `list${title}s`,
        tags: [collection],
        summary: `Lists ${title}s`,
        querystring: querySchema({ ready: Type.Optional(flagParameter) }),
        response: responses({ 200: listSchema(kind) }, { hasEtag: true, hasEventId: true }),
      },
    },
    (request, reply) => {
      // Both in one turn: what changes from now on has a later event.
      const view = context.board.view();
      const eventId = context.events.id;
      const { revision } = view.state.desired;
      const items = new LazyList(documentsOf(kind, view, parseFlag(request.query.ready)));
      return reply
        .header("etag", etagOf(revision))
        .header(eventIdHeader, eventId)
        .send({ items, revision, eventId });
    },
  );

  app.get<{ Params: NamePath }>(
    one,
    {
      schema: {
        operationId: `get${title}`,
        tags: [collection],
        summary: `Reads one ${title}`,
        params: namePath,
        response: responses({ 200: object }, { hasEtag: true }),
      },
    },
    (request, reply) => {
      const view = context.board.view();
      const { desired } = view.state;
      const name = existingName(collection, request.params.name);
      const stored = objectsOf(desired, kind).get(name);
      if (stored === undefined) throw notFound(objectId(kind, name));
      return reply.header("etag", etagOf(desired.revision)).send(objectDocument(kind, stored, view));
    },
  );

  app.put<{ Params: NamePath; Querystring: WriteQuery; Body: Readonly<Record<string, unknown>> }>(
    one,
    {
      schema: {
        operationId: `put${title}`,
        tags: [collection],
        summary: `Creates or replaces one ${title}`,
        params: namePath,
        headers: preconditionHeaders,
        querystring: querySchema(writeParameters),
        body: putBodySchema(kind),
        response: responses({ 200: written, 202: written }, { hasEtag: true }),
      },
    },
    (request, reply) => {
      const spec = parseSpec(kind, request.params.name, request.body);
      const preconditions = parsePreconditions(request.headers);
      return write(
        context,
        reply,
        request.query,
        (state, facts) => putObjectChunked(state, { kind, spec, ...preconditions }, facts),
        {
          document({ desired }) {
            const stored = objectsOf(desired, kind).get(spec.name);
            if (stored === undefined) throw new TypeError(`stored but not found: ${spec.name}`);
            return objectDocument(kind, stored, context.board.view());
          },
        },
      );
    },
  );

  app.delete<{ Params: NamePath; Querystring: DeleteQuery }>(
    one,
    {
      schema: {
        operationId: `delete${title}`,
        tags: [collection],
        summary: `Deletes one ${title}`,
        params: namePath,
        headers: ifMatchHeader,
        querystring: deleteQuerySchema(kind),
        response: responses(
          { 200: previewSchema, 202: object, 204: noContent("Deleted") },
          { hasEtag: true },
        ),
      },
    },
    (request, reply) => {
      const { uid, cascade, ...query } = request.query;
      const ifMatch = parseIfMatch(request.headers);
      const name = existingName(collection, request.params.name);
      const deletion = { kind, name, uid, isCascading: parseFlag(cascade), ifMatch };
      return write(context, reply, query, (state, facts) => deleteObjectChunked(state, deletion, facts), {
        document: () => ({}),
        send({ before, outcome, isWaiting }) {
          const stored = objectsOf(before.desired, kind).get(name);
          if (!isWaiting || outcome === "done" || stored === undefined) return reply.code(204).send();
          return reply.code(202).send(objectDocument(kind, stored, context.board.view()));
        },
      });
    },
  );
}

/** Number of objects between two turns of the event loop, if the list only checks whether they are Ready. */
const skippedAtOnce = 1_000;

/** Yields the documents of a list, one at a time. */
function* documentsOf(
  kind: Kind,
  view: ViewPort,
  wanted: boolean | undefined,
): Generator<ObjectDocument | undefined, void, undefined> {
  yield* view.prepare();
  let skipped = 0;
  for (const [name, stored] of objectsOf(view.state.desired, kind)) {
    if (wanted === undefined || view.isObjectReady(objectId(kind, name)) === wanted)
      yield objectDocument(kind, stored, view);
    else if (++skipped % skippedAtOnce === 0) yield undefined;
  }
}

interface DeleteQuery extends WriteQuery {
  readonly uid?: NonNullable<Spec["uid"]>;
  readonly cascade?: string;
}

function deleteQuerySchema(kind: Kind) {
  const parameters = { ...writeParameters, uid: Type.Optional(UidSchema) };
  return querySchema(kind === "eip" ? { ...parameters, cascade: Type.Optional(flagParameter) } : parameters);
}

/** The flat object. `name` may be absent, because the path has it. */
function putBodySchema(kind: Kind) {
  const properties: Readonly<Record<string, TSchema>> = recordOf(kind).schema.properties;
  return Type.Object(
    { ...properties, name: Type.Optional(ObjectNameSchema) },
    { additionalProperties: false, title: `${recordOf(kind).title}Input` },
  );
}

/** Joins the path and a body that passed its schema. */
function parseSpec<K extends Kind>(
  kind: K,
  text: string,
  body: Readonly<Record<string, unknown>>,
): SpecOf[K] {
  const name = parseObjectName(text);
  if (name === undefined) {
    throw invalid([{ pointer: "/name", message: "in the path must be a DNS subdomain" }]);
  }
  if (body.name !== undefined && body.name !== name) {
    throw invalid([{ pointer: "/name", message: `differs from ${collectionOf(kind)}/${name} in the path` }]);
  }
  return { ...body, name } as SpecOf[K];
}

/** Throws `not-found` for a name that no object can have. */
function existingName(collection: Collection, text: string): ObjectName {
  const name = parseObjectName(text);
  if (name === undefined)
    throw new GatewayError("not-found", `no object of ${collection} can have that name`);
  return name;
}
