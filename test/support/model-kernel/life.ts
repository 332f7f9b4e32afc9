/**
 * One life of an agent. Each of its effects passes {@link Life.moment} before and after: there the world may act between any
 * two of them, and there the agent may be killed. A killed agent hangs for ever, as a process does that is no more.
 */
export class Life {
  /** How many moments have passed. */
  moments = 0;
  /** What the world does at a moment; told its number. */
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

  /** Resolves a turn later, or never. */
  async moment(): Promise<void> {
    if (!this.#isOver) this.onMoment(++this.moments);
    if (this.#isOver) await new Promise<never>(() => {});
  }
}
