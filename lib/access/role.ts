/** What a caller of the API may do: read everything, or also write. */

export const roles = ["read", "write"] as const;
export type Role = (typeof roles)[number];

export function isRole(text: string): text is Role {
  return roles.some((role) => role === text);
}

/** The role that may do less. */
export function lesser(one: Role, other: Role): Role {
  return one === "read" ? one : other;
}
