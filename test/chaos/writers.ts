/**
 * Writers that own a few names each and know what they may find under them: the last acknowledged content, or, if a
 * write was interrupted, either that or the new one.
 */
import type { ApiClient } from "../support/api-client.ts";

/** The content of a FIP's name: its internal IP, or nothing. */
export type Content = string | undefined;

export interface Expectation {
  /** The contents that are possible. */
  readonly either: readonly Content[];
}

export class Writer {
  readonly #names: readonly string[];
  readonly #random: () => number;
  readonly #found = new Map<string, readonly Content[]>();
  acknowledged = 0;

  /** `names` of FIPs. Each has an existing Eip `eip-<name>`. */
  constructor(names: readonly string[], random: () => number) {
    this.#names = names;
    this.#random = random;
  }

  /** The possible contents of each name. */
  get expectations(): ReadonlyMap<string, readonly Content[]> {
    return this.#found;
  }

  /** After a read: the content is now known. */
  settle(name: string, content: Content): void {
    this.#found.set(name, [content]);
  }

  /** Writes without pause until the agent is gone. */
  async run(api: ApiClient): Promise<void> {
    for (;;) {
      const name = this.#names[Math.floor(this.#random() * this.#names.length)] ?? "";
      const wanted =
        this.#random() < 0.35 ? undefined : `10.0.${8 + Math.floor(this.#random() * 200)}.${name}`;
      const before = this.#found.get(name) ?? [undefined];
      this.#found.set(name, [...before, wanted]);
      try {
        const reply =
          wanted === undefined
            ? await api.delete(`fips/${name}`, "")
            : await api.put(`fips/${name}`, { eip: `eip-${name}`, internalIp: wanted }, "");
        // An object that is already gone counts as deleted.
        if (reply.status >= 300 && reply.status !== 404)
          throw new Error(`fips/${name} was answered with ${reply.status}: ${JSON.stringify(reply.body)}`);
      } catch (error) {
        if (isGone(error)) return;
        throw error;
      }
      this.#found.set(name, [wanted]);
      this.acknowledged += 1;
    }
  }
}

/** True if the connection ended or could not be made. */
function isGone(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  return /^(ECONN|EPIPE|ENOENT|UND_ERR_(SOCKET|DESTROYED|CLOSED|ABORTED))/.test(code);
}
