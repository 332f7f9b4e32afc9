/**
 * CPU time beside the wall's: on a machine that does other things too it says more. Counted in ticks of 10 ms, so it is
 * the sum over all runs that means something.
 */
import { usageOf } from "./process-usage.ts";

export class CpuMeter {
  #agentSeconds = 0;
  #toolSeconds = 0;

  /** What the agent spends on `act`, and the tools that it runs meanwhile. */
  async agent<T>(pid: number, act: () => Promise<T>): Promise<T> {
    const before = await usageOf(pid);
    const result = await act();
    const after = await usageOf(pid);
    this.#agentSeconds += after.cpuSeconds - before.cpuSeconds + (after.endedSeconds - before.endedSeconds);
    return result;
  }

  /** What the tools spend that this process runs in `act`. */
  async tools<T>(act: () => Promise<T> | T): Promise<T> {
    const before = await usageOf(process.pid);
    const result = await act();
    const after = await usageOf(process.pid);
    this.#toolSeconds += after.endedSeconds - before.endedSeconds;
    return result;
  }

  /** In words, a run. */
  note(runs: number): string {
    const ms = (seconds: number) => `${((seconds * 1000) / runs).toFixed(0)} ms`;
    const ratio = (this.#agentSeconds / this.#toolSeconds).toFixed(2);
    return `CPU a run: the agent and its tools ${ms(this.#agentSeconds)}, the base ${ms(this.#toolSeconds)}: ${ratio} ×`;
  }
}
