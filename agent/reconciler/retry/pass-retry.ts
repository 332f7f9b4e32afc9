/** Whether the last pass left something undone, and when the next one tries again: after 0.5 s, doubling to 30 s. */
const firstRetryMs = 500;
const maxRetryMs = 30_000;

export class PassRetry {
  #passes = 0;
  #doneVersion = "";

  /** @param version names what the pass was made from */
  note(version: string, isUndone: boolean): void {
    this.#passes = isUndone ? this.#passes + 1 : 0;
    this.#doneVersion = isUndone ? "" : version;
  }

  /** True where all that this version asks for was done, and no other since. */
  isDone(version: string): boolean {
    return version === this.#doneVersion;
  }

  /** Milliseconds until what was left undone is tried again; `undefined` where nothing was. */
  get dueInMs(): number | undefined {
    return this.#passes === 0 ? undefined : Math.min(firstRetryMs * 2 ** (this.#passes - 1), maxRetryMs);
  }
}
