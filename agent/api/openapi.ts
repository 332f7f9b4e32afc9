/**
 * The OpenAPI document. It is made so that generators of clients give every value a type with a name.
 *
 * What a route declares for it, in `schema`:
 * - `operationId`, unique: a verb and a noun, such as `listEips`; `tags`; `summary`.
 * - `response: responses({ 200: SomeSchema })` (responses.ts), with `{ hasEtag: true }` if the answer has an ETag. One schema for each
 *   status: members that only some answers have are optional, instead of a union of two documents. The only union
 *   is that of a schema and null.
 * - A `title` for every object, and every enum with several values, in bodies and answers: `Type.Object({ ... }, { title: "EipSpec" })`.
 *   The document lists it under that name and refers to it wherever it is used. The same title means the same schema.
 * - Parameters of the query are text. `documented` gives the schema to show in its place: see `flagParameter` in query.ts.
 *
 * `security` follows from the route's `config`. test/unit/agent/api/openapi.test.ts checks all routes.
 */
import type { SwaggerOptions } from "@fastify/swagger";
import type { FastifyContextConfig } from "fastify";
import type { TSchema } from "typebox";

type Json = unknown;
type JsonObject = Readonly<Record<string, Json>>;

const description = `The API of the NAT gateway agent: the desired set of a gateway, and what the kernel has of it.

On the Unix socket no credentials are needed: its file mode protects it. Over TCP a request needs the bearer token, a client certificate
or both, as the agent is configured.`;

/** How `@fastify/swagger` makes the document. `streamed`: named schemas of what is in a stream, which no answer can refer to. */
export function swaggerOptions(version: string, streamed: readonly TSchema[]): SwaggerOptions {
  return {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "NAT gateway agent",
        version,
        description,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" } as { readonly name: string },
      },
      servers: [{ url: "/", description: "The agent that serves this document" }],
      components: {
        securitySchemes: {
          token: {
            type: "http",
            scheme: "bearer",
            description: "A bearer token that NATGW_TOKEN_FILE admits",
          },
          clientCertificate: {
            type: "mutualTLS",
            description: "Signed by the CA of NATGW_TLS_CLIENT_CA_FILE",
          } as never,
        },
      },
    },
    transform: ({ schema, url, route }) => ({
      schema: { ...schema, security: securityOf(route.config) },
      url,
    }),
    transformObject: (made) =>
      ("openapiObject" in made ? completeDocument(made.openapiObject, streamed) : {}) as object,
  };
}

/** Each entry is enough. */
function securityOf(config: Partial<FastifyContextConfig> = {}): { readonly [scheme: string]: string[] }[] {
  if (config.isOpen === true || config.isLocal === true) return [];
  return [{ token: [] }, { clientCertificate: [] }];
}

/**
 * Moves every schema that has a title to `components.schemas`, and states what generators would have to guess: the type of enums, the
 * width of numbers. Adds the schemas of `others`.
 *
 * @throws if two different schemas have one title
 */
export function completeDocument(document: JsonObject, others: readonly TSchema[] = []): JsonObject {
  const named = new Map<string, Json>();
  const { components, ...rest } = document;
  const completed = asObject(complete(rest, named));
  complete(others, named);
  const schemas = Object.fromEntries([...named].sort(([one], [other]) => (one < other ? -1 : 1)));
  return { ...completed, components: { ...asObject(components), schemas } };
}

function complete(node: Json, named: Map<string, Json>): Json {
  if (Array.isArray(node)) return node.map((item) => complete(item, named));
  if (!isObject(node)) return node;
  const { documented, patternProperties: pattern, ...given } = node;
  // A record of any names.
  const map = isObject(pattern) ? { additionalProperties: Object.values(pattern)[0] } : {};
  const shown = isObject(documented)
    ? { ...documented, ...pick(given, "description") }
    : { ...given, ...map };
  const members = Object.entries(shown).map(([name, member]) => [name, complete(member, named)] as const);
  const { title, ...schema } = { ...guessedOf(shown), ...Object.fromEntries(members) };
  if (typeof title !== "string" || !("type" in schema))
    return { ...(title !== undefined && { title }), ...schema };
  const known = named.get(title);
  if (known !== undefined && JSON.stringify(known) !== JSON.stringify(schema))
    throw new TypeError(`Two different schemas have the title ${title}`);
  named.set(title, schema);
  return { $ref: `#/components/schemas/${title}` };
}

const largestInt32 = 2 ** 31 - 1;

function guessedOf({ type, enum: values, maximum, format }: JsonObject): JsonObject {
  if (Array.isArray(values) && type === undefined) return { type: "string" };
  if (format !== undefined) return {};
  if (type === "number") return { format: "double" };
  if (type !== "integer" || (typeof maximum === "number" && maximum <= largestInt32)) return {};
  return { format: "int64" };
}

function pick(object: JsonObject, name: string): JsonObject {
  return name in object ? { [name]: object[name] } : {};
}

function asObject(value: Json): JsonObject {
  return isObject(value) ? value : {};
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
