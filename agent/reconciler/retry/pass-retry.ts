/** Whether the last pass left work undone, and when the next one retries: after 0.5 s, doubling to 30 s. */
import type { ProgramVersion } from "./program-versions.ts";

const firstRetryMs = 500;
const maxRetryMs = 30_000;

export class PassRetry {
  #passes = 0;
  #doneVersion: ProgramVersion | undefined;

  note(version: ProgramVersion, isUndone: boolean): void {
    this.#passes = isUndone ? this.#passes + 1 : 0;
    this.#doneVersion = isUndone ? undefined : version;
  }

  /** True if all work for this version was done, and no other version was tried since. */
  isDone(version: ProgramVersion): boolean {
    return version === this.#doneVersion;
  }

  /** Milliseconds until undone work is retried. `undefined` if there is none. */
  get dueInMs(): number | undefined {
    return this.#passes === 0 ? undefined : Math.min(firstRetryMs * 2 ** (this.#passes - 1), maxRetryMs);
  }
}
