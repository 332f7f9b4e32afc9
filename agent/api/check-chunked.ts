/**
 * The speed layer around the compiled validator: the same verdict, with long lists checked some items at a time, so that the
 * event loop runs in between. A test compares the two.
 */
import { Compile } from "typebox/schema";
import { type Chunked, everyNth, runSync } from "../../lib/chunked.ts";
import type { PlainSchema } from "./input-issues.ts";

/** Whether a value matches a schema. */
export type Check = (value: unknown) => Chunked<boolean>;

/** One item can have hundreds of items of its own. */
const checkedAtOnce = 250;

/** Splits the lists that objects of the schema have, not the lists within their items. */
export function compileCheck(schema: PlainSchema): Check {
  if (schema.type === "array" && schema.items !== undefined) return listCheck(schema, schema.items);
  const lists = Object.entries(schema.properties ?? {}).filter(([, property]) => hasList(property));
  if (lists.length === 0) {
    const compiled = Compile(schema);
    // biome-ignore lint/correctness/useYield: it has one part
    return function* (value) {
      return compiled.Check(value);
    };
  }
  const members = lists.map(([name, property]) => [name, compileCheck(property)] as const);
  const anything = Object.fromEntries(lists.map(([name]) => [name, {}]));
  const rest = Compile({ ...schema, properties: { ...schema.properties, ...anything } });
  return function* (value) {
    if (!rest.Check(value)) return false;
    const object: Readonly<Record<string, unknown>> = Object(value);
    for (const [name, check] of members)
      if (Object.hasOwn(object, name) && !(yield* check(object[name]))) return false;
    return true;
  };
}

function listCheck(list: PlainSchema, items: PlainSchema): Check {
  const ofItem = compileCheck(items);
  const ofList = Compile({ ...list, items: {} });
  return function* (value) {
    if (!ofList.Check(value) || !Array.isArray(value)) return false;
    const isDue = everyNth(checkedAtOnce);
    for (const item of value) {
      if (isDue()) yield;
      // An item is small.
      if (!runSync(ofItem(item))) return false;
    }
    return true;
  };
}

/** Whether lists of the schema are worth splitting. */
function hasList({ type, properties }: PlainSchema): boolean {
  return type === "array" || Object.values(properties ?? {}).some(hasList);
}
