/** Lets one task through at a time, in the order of arrival: no two may write to the kernel at once. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `task` once all before it have ended, however they ended. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(task, task);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
