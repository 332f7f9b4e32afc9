/** Random values of JSON for tests that read them back with `JSON.parse`. */
import fc from "fast-check";

/**
 * Values without a backslash in any name: once V8 has parsed a name that ends in one, it takes some escaped names for it
 * (nodejs/node#63785), such as `"a\n"` after `"a\\"`.
 */
export function jsonValues(constraints: fc.JsonSharedConstraints = {}): fc.Arbitrary<unknown> {
  return fc.jsonValue(constraints).map(withoutBackslashes);
}

/** The value with a slash in place of each backslash. */
export function withoutBackslashes<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value).replaceAll("\\\\", "/"));
}
