/** Number of members of all objects in a value. Recursive: its depth is bounded before. */
export function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const isArray = Array.isArray(value);
  const members: readonly unknown[] = isArray ? value : Object.values(value);
  let keys = isArray ? 0 : members.length;
  for (const member of members) keys += countKeys(member);
  return keys;
}
