/** Closes an exhaustive `switch`. A missing case does not compile. Throws if the value does not match its type. */
export function assertNever(value: never): never {
  throw new TypeError(`unexpected value: ${JSON.stringify(value)}`);
}
