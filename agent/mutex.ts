/** Runs one task at a time, in the order of arrival. Prevents two concurrent writers to the kernel. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `task` after all earlier tasks have ended, successfully or not. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(task, task);
    // Without the result, which may be large.
    const nothing = () => undefined;
    this.#last = turn.then(nothing, nothing);
    return turn;
  }
}
