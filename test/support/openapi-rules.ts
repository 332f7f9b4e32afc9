/** The rules of agent/api/openapi.ts, checked on a document. */

type JsonObject = Readonly<Record<string, unknown>>;

const methods = ["get", "put", "post", "delete"];
/** What generators turn into unions and guesses. */
const forbidden = ["anyOf", "oneOf", "allOf", "not", "patternProperties", "nullable", "const"];

/** What is against the rules, each as `place: fault`. */
export function openApiFaults(document: JsonObject): readonly string[] {
  const { paths, components } = document;
  const schemas = member(components, "schemas");
  const schemes = Object.keys(member(components, "securitySchemes"));
  const operations = Object.entries(asObject(paths)).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = asObject(item)[method];
      return operation === undefined ? [] : [{ place: `${method} ${path}`, operation: asObject(operation) }];
    }),
  );
  const ids = operations.map(({ operation }) => operation.operationId);
  const twice = ids.filter((id, index) => id !== undefined && ids.indexOf(id) !== index);
  return [
    ...twice.map((id) => `operationId ${id}: occurs twice`),
    ...operations.flatMap(({ place, operation }) => operationFaults(place, operation, schemes)),
    ...operations.flatMap(({ place, operation }) => contentsFaults(place, operation, schemas)),
    ...Object.entries(schemas).flatMap(([name, schema]) => definitionFaults(name, asObject(schema), schemas)),
  ];
}

function operationFaults(
  place: string,
  operation: JsonObject,
  schemes: readonly string[],
): readonly string[] {
  const faults: string[] = [];
  if (!/^[a-z]+[A-Z][A-Za-z]*$|^[a-z]+$/.test(String(operation.operationId ?? "")))
    faults.push("no operationId");
  if (!Array.isArray(operation.tags) || operation.tags.length === 0) faults.push("no tags");
  if (typeof operation.summary !== "string") faults.push("no summary");
  if (!Array.isArray(operation.security)) faults.push("no security");
  for (const name of [operation.security ?? []].flat().flatMap((entry) => Object.keys(asObject(entry))))
    if (!schemes.includes(name)) faults.push(`security ${name} is unknown`);
  const responses = asObject(operation.responses);
  const problem = asObject(responses.default);
  if (isGuarded(operation) && problem.content === undefined) faults.push("no problem as default answer");
  if (problem.content !== undefined && member(problem, "headers")["Retry-After"] === undefined)
    faults.push("no header Retry-After");
  if (!Object.keys(responses).some((status) => status.startsWith("2"))) faults.push("no answer of success");
  return faults.map((fault) => `${place}: ${fault}`);
}

function isGuarded({ security }: JsonObject): boolean {
  return Array.isArray(security) && security.length > 0;
}

/** Faults of parameters, bodies, headers and answers. Objects and enums in them have names, so they are references. */
function contentsFaults(place: string, operation: JsonObject, schemas: JsonObject): readonly string[] {
  const faults: string[] = [];
  const visit = (node: unknown, at: string): void => {
    if (typeof node !== "object" || node === null) return;
    for (const [name, child] of Object.entries(node)) {
      if (name === "schema") faults.push(...schemaFaults(`${at}`, asObject(child), schemas));
      else visit(child, `${at} ${name}`);
    }
  };
  visit(operation, place);
  return faults;
}

function definitionFaults(name: string, schema: JsonObject, schemas: JsonObject): readonly string[] {
  if (schema.type !== "object") return schemaFaults(name, { ...schema, enum: undefined }, schemas);
  const { properties } = schema;
  const required = Array.isArray(schema.required) ? schema.required : [];
  return [
    ...Object.keys(schema)
      .filter((key) => forbidden.includes(key))
      .map((key) => `${name}: has ${key}`),
    ...(properties === undefined ? [`${name}: no properties`] : []),
    ...required
      .filter((key) => asObject(properties)[String(key)] === undefined)
      .map((key) => `${name}: requires ${key}, which it does not have`),
    ...Object.entries(asObject(properties)).flatMap(([key, child]) =>
      schemaFaults(`${name}.${key}`, asObject(child), schemas),
    ),
  ];
}

/** Faults of a schema that is not itself in `components`. */
function schemaFaults(place: string, schema: JsonObject, schemas: JsonObject): readonly string[] {
  const reference = schema.$ref;
  if (typeof reference === "string") {
    const name = reference.replace("#/components/schemas/", "");
    return schemas[name] === undefined ? [`${place}: refers to ${name}, which is not there`] : [];
  }
  const inner = orNull(schema);
  if (inner !== undefined) return schemaFaults(place, inner, schemas);
  const faults = Object.keys(schema)
    .filter((key) => forbidden.includes(key))
    .map((key) => `has ${key}`);
  const { type, enum: values } = schema;
  if (typeof type !== "string") faults.push(Array.isArray(type) ? "a list of types" : "no type");
  const isMap = schema.properties === undefined && typeof schema.additionalProperties === "object";
  if (type === "object" && !isMap) faults.push("an object without a title");
  if (Array.isArray(values) && values.length > 1) faults.push("an enum without a title");
  return [
    ...faults.map((fault) => `${place}: ${fault}`),
    ...(isMap ? schemaFaults(`${place}{}`, asObject(schema.additionalProperties), schemas) : []),
    ...(type === "array" ? schemaFaults(`${place}[]`, asObject(schema.items), schemas) : []),
  ];
}

/** The schema of which this is the union with null. */
function orNull({ anyOf }: JsonObject): JsonObject | undefined {
  const [schema, none, ...others] = Array.isArray(anyOf) ? anyOf.map(asObject) : [];
  return none?.type === "null" && others.length === 0 ? schema : undefined;
}

function member(object: unknown, name: string): JsonObject {
  return asObject(asObject(object)[name]);
}

function asObject(value: unknown): JsonObject {
  return typeof value === "object" && value !== null ? (value as JsonObject) : {};
}
