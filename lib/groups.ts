/**
 * Groups of ids or names. Most groups have one member, which is stored without a Set: at 10,000 objects that saves megabytes.
 */
export class Groups<Member extends string> {
  readonly #groups = new Map<string, Member | Set<Member>>();

  of(key: string): Iterable<Member> {
    const group = this.#groups.get(key);
    if (group === undefined) return [];
    return typeof group === "string" ? [group] : group;
  }

  add(key: string, member: Member): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, member);
    else if (typeof group === "string") this.#groups.set(key, new Set([group, member]));
    else group.add(member);
  }

  delete(key: string, member: Member): void {
    const group = this.#groups.get(key);
    if (group === member) this.#groups.delete(key);
    else if (typeof group === "object" && group.delete(member) && group.size === 0) this.#groups.delete(key);
  }
}
