/**
 * One life of an agent. Each of its effects passes {@link Life.moment} before and after: there other things can happen,
 * and there the agent can be killed. A killed agent hangs forever, like a process that no longer exists.
 */
export class Life {
  /** The number of moments so far. */
  moments = 0;
  /** Called at each moment with its number. */
  onMoment: (number: number) => void = () => {};
  readonly #died = Promise.withResolvers<"died">();
  #isOver = false;

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves when the agent is killed. */
  get died(): Promise<"died"> {
    return this.#died.promise;
  }

  kill(): void {
    this.#isOver = true;
    this.#died.resolve("died");
  }

  /** Resolves one turn later. Never resolves if the agent was killed. */
  async moment(): Promise<void> {
    if (!this.#isOver) this.onMoment(++this.moments);
    if (this.#isOver) await new Promise<never>(() => {});
  }
}
