/** Closes an exhaustive `switch`: does not compile while a case is missing, and throws where a value lies about its type. */
export function assertNever(value: never): never {
  throw new TypeError(`unexpected value: ${JSON.stringify(value)}`);
}
