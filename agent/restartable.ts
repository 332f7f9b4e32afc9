/** Components that start and stop together, and start again in the same process when they ask for it. */
import type { Log } from "./log.ts";

export type StopFunctions = (() => Promise<unknown>)[];

/**
 * Starts the components and pushes a stop function for each. If it throws, those that were pushed are stopped.
 * @param restart stops all and starts them again; can be called many times
 */
type Start = (stop: StopFunctions, restart: () => void) => Promise<void>;

export class Restartable {
  readonly #start: Start;
  readonly #log: Pick<Log, "info" | "error">;
  readonly #onLost: (error: unknown) => void;
  readonly #stop: StopFunctions = [];
  #restarting: Promise<void> | undefined;
  #isStopping = false;

  /** @param onLost called if the components could not be started again; the default ends the process */
  constructor(start: Start, log: Pick<Log, "info" | "error">, onLost: (error: unknown) => void = fail) {
    this.#start = start;
    this.#log = log;
    this.#onLost = onLost;
  }

  /** Throws what the start throws. */
  async start(): Promise<void> {
    try {
      await this.#start(this.#stop, () => this.#restart());
    } catch (error) {
      await this.#stopAll();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#restarting;
    await this.#stopAll();
  }

  #restart(): void {
    if (this.#isStopping) return;
    this.#restarting ??= this.#runRestart();
  }

  async #runRestart(): Promise<void> {
    this.#log.info({}, "starting again with other interfaces");
    // The components that ask for it finish their turn first.
    await new Promise(setImmediate);
    await this.#stopAll();
    this.#restarting = undefined;
    if (this.#isStopping) return;
    try {
      await this.start();
    } catch (error) {
      this.#onLost(error);
    }
  }

  async #stopAll(): Promise<void> {
    for (const part of this.#stop.splice(0).reverse()) {
      try {
        await part();
      } catch (err) {
        this.#log.error({ err }, "a component did not stop cleanly");
      }
    }
  }
}

/** As an unexpected error: the process stops gracefully. */
function fail(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
