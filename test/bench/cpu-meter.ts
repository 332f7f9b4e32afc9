/**
 * Measures CPU time besides wall time: on a busy machine it is more meaningful. It is counted in ticks of 10 ms, so
 * only the sum over all runs is meaningful.
 */
import { usageOf } from "./process-usage.ts";

export class CpuMeter {
  #agentSeconds = 0;
  #toolSeconds = 0;

  /** CPU time of the agent, and of the tools that it runs, during `act`. */
  async agent<T>(pid: number, act: () => Promise<T>): Promise<T> {
    const before = await usageOf(pid);
    const result = await act();
    const after = await usageOf(pid);
    this.#agentSeconds += after.cpuSeconds - before.cpuSeconds + (after.endedSeconds - before.endedSeconds);
    return result;
  }

  /** CPU time of the tools that this process runs in `act`. */
  async tools<T>(act: () => Promise<T> | T): Promise<T> {
    const before = await usageOf(process.pid);
    const result = await act();
    const after = await usageOf(process.pid);
    this.#toolSeconds += after.endedSeconds - before.endedSeconds;
    return result;
  }

  /** CPU time of the agent and its tools so far. */
  get agentMs(): number {
    return this.#agentSeconds * 1000;
  }

  /** As text, per run. */
  note(runs: number): string {
    const ms = (seconds: number) => `${((seconds * 1000) / runs).toFixed(0)} ms`;
    const ratio = (this.#agentSeconds / this.#toolSeconds).toFixed(2);
    return `CPU a run: the agent and its tools ${ms(this.#agentSeconds)}, the base ${ms(this.#toolSeconds)}: ${ratio} ×`;
  }
}
