/**
 * Lists why a schema refused a value: text and RFC 6901 pointers, one issue at a time.
 *
 * The compiled validator answers yes or no in microseconds and stops at the first error. Its own list of errors walks
 * the whole value, so a hostile body of 64 MiB can block the event loop for minutes. This module supports only the
 * vocabulary that our schemas use. A test checks that both give the same verdict.
 */
import { type Chunked, everyNth, runSync } from "../../lib/chunked.ts";
import type { InputIssue } from "../../lib/model/errors.ts";

/** The part of JSON Schema that our schemas use. */
export interface PlainSchema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly items?: PlainSchema;
  readonly properties?: Readonly<Record<string, PlainSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
}

/** The first `most` errors of `value`, in the order of its text. Empty if it is valid. */
export function listIssues(...given: Parameters<typeof issuesChunked>): readonly InputIssue[] {
  return runSync(issuesChunked(...given));
}

/** One item can have hundreds of items of its own. */
const checkedAtOnce = 100;

/** The same in parts. */
export function* issuesChunked(
  schema: PlainSchema,
  value: unknown,
  at: string,
  most: number,
): Chunked<readonly InputIssue[]> {
  const issues: InputIssue[] = [];
  for (const issue of issuesOf(schema, value, at)) {
    if (issue === undefined) yield;
    else issues.push(issue);
    if (issues.length === most) break;
  }
  return issues;
}

/** The errors, and `undefined` where it is time for a pause. */
type Issues = Generator<InputIssue | undefined>;

function* issuesOf(schema: PlainSchema, value: unknown, at: string): Issues {
  if (schema.type === "object") {
    if (isRecord(value)) yield* issuesOfObject(schema, value, at);
    else yield { pointer: at, message: "must be an object" };
  } else if (schema.type === "array") {
    if (Array.isArray(value)) yield* issuesOfArray(schema, value, at);
    else yield { pointer: at, message: "must be an array" };
  } else {
    const message = scalarIssue(schema, value);
    if (message !== undefined) yield { pointer: at, message };
  }
}

function* issuesOfObject(schema: PlainSchema, value: Readonly<Record<string, unknown>>, at: string): Issues {
  const properties = schema.properties ?? {};
  for (const name of schema.required ?? []) {
    if (!Object.hasOwn(value, name)) yield { pointer: `${at}/${token(name)}`, message: "is missing" };
  }
  for (const [name, member] of Object.entries(value)) {
    const pointer = `${at}/${token(name)}`;
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property !== undefined) yield* issuesOf(property, member, pointer);
    else if (schema.additionalProperties === false) yield { pointer, message: "is unknown" };
  }
}

function* issuesOfArray(schema: PlainSchema, value: readonly unknown[], at: string): Issues {
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    yield { pointer: at, message: `must not have more than ${schema.maxItems} items` };
    return;
  }
  const isDue = everyNth(checkedAtOnce);
  for (const [index, item] of value.entries()) {
    if (isDue()) yield undefined;
    yield* issuesOf(schema.items ?? {}, item, `${at}/${index}`);
  }
}

function scalarIssue(schema: PlainSchema, value: unknown): string | undefined {
  if (schema.enum !== undefined) {
    return schema.enum.includes(value) ? undefined : `must be one of ${schema.enum.join(", ")}`;
  }
  switch (schema.type) {
    case "string": {
      if (typeof value !== "string") return "must be a string";
      const { minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern } = schema;
      if (value.length < minLength) return "must not be empty";
      if (value.length > maxLength) return `must have at most ${maxLength} characters`;
      if (pattern === undefined || regularExpression(pattern).test(value)) return undefined;
      return `must ${expectation(schema.description) ?? `match ${pattern}`}`;
    }
    case "integer":
    case "number": {
      if (schema.type === "integer" && !Number.isInteger(value)) return "must be an integer";
      if (!Number.isFinite(value)) return "must be a number";
      const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = schema;
      const number = Number(value);
      return number < minimum || number > maximum ? `must be from ${minimum} to ${maximum}` : undefined;
    }
    case "boolean":
      return typeof value === "boolean" ? undefined : "must be true or false";
    default:
      return undefined;
  }
}

const compiled = new Map<string, RegExp>();

/** There are as many as patterns in our schemas. */
function regularExpression(pattern: string): RegExp {
  const known = compiled.get(pattern) ?? new RegExp(pattern, "u");
  compiled.set(pattern, known);
  return known;
}

/** RFC 6901. Names are cut to a readable length, because the caller chooses them. */
function token(name: string): string {
  const shown = name.length > 256 ? `${name.slice(0, 256)}...` : name;
  return shown.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** In `"An IPv4 network; host bits are masked"` the text before the semicolon is the expectation. */
function expectation(description: string | undefined): string | undefined {
  const noun = description?.match(/^An?( [^;]+)/)?.[0];
  return noun === undefined ? undefined : `be ${noun.charAt(0).toLowerCase()}${noun.slice(1)}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
