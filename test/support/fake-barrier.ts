/** The tables of guard and gates in memory, for tests of drivers without a kernel. */
import type { BarrierDriver } from "../../agent/kernel/nftables/barrier.ts";
import type { Program } from "../../lib/model/program.ts";
import { type BarrierTransaction, barrierLines, type ObservedBarrier } from "../../lib/nftables/barrier.ts";
import { type BarrierName, byBarrier } from "../../lib/nftables/barrier-tables.ts";
import { barrierFrame } from "../../lib/plan/gate/barrier.ts";
import type { Gates } from "../../lib/plan/gate-state.ts";
import { wantedGuard } from "../../lib/plan/guard.ts";
import { Barriers } from "./model-kernel/barriers.ts";

export class FakeBarrier implements BarrierDriver {
  readonly tables = new Barriers();
  readonly calls: string[];
  /** Called for each transaction that was accepted. */
  onWrite: () => void = () => undefined;
  generation: () => number = () => 0;

  constructor(calls: string[] = []) {
    this.calls = calls;
  }

  readGeneration = async () => this.generation();

  async read(): Promise<ObservedBarrier> {
    this.calls.push("barrier read");
    return this.tables.read();
  }

  forget(): void {
    this.calls.push("barrier forget");
  }

  async readWritten(): Promise<ObservedBarrier> {
    this.calls.push("barrier read written");
    return this.tables.read();
  }

  async write(transaction: BarrierTransaction, generation: number | undefined) {
    this.calls.push("barrier write");
    if (generation !== undefined && generation !== this.generation()) return { kind: "stale" } as const;
    if (!this.tables.write(transaction)) {
      const error = { errno: 2, code: "ENOENT", message: "no such file or directory" };
      return { kind: "refused", error, fault: undefined } as const;
    }
    this.onWrite();
    return { kind: "done" } as const;
  }

  readCounts = async () => new Map();
}

/** The reading of a kernel whose guard and gates are those of `program`. */
export function barrierOf(program: Program, gates: Gates): ObservedBarrier {
  const frame = barrierFrame(program);
  const isThere = (name: BarrierName) => name === "guard" || (name !== "set" && gates[name] === "closed");
  return {
    frames: byBarrier((name) => (isThere(name) ? barrierLines(name, frame) : undefined)),
    elements: wantedGuard(program),
  };
}
