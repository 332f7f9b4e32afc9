/** Clocks, injected wherever the code needs time. */
import { GatewayError } from "../lib/model/errors.ts";
import type { Instant } from "../lib/state/state.ts";
import { readBootId } from "./kernel/epoch.ts";
import { errnoName, libcFunction } from "./kernel/libc.ts";

export interface Clock {
  /** Milliseconds since 1970. May jump. */
  wallMs(): number;
  /** Milliseconds of CLOCK_BOOTTIME. Includes suspend, never jumps, and is the same for all processes of this boot. */
  bootMs(): number;
  /** Both clocks and the boot id. Comparable across restarts of the agent and of the machine. */
  instant(): Instant;
}

/** The machine's clock. Reads the boot id once. Throws `unreadable` if it cannot be read. */
export async function openClock(): Promise<Clock> {
  const bootId = await readBootId();
  return {
    wallMs: () => Date.now(),
    bootMs,
    instant: () => ({ bootId, bootMs: bootMs(), wallMs: Date.now() }),
  };
}

const CLOCK_BOOTTIME = 7;
const clockGettime = libcFunction<[clock: number, time: Uint8Array]>("int clock_gettime(int, void *)");

function bootMs(): number {
  const time = new Uint8Array(16);
  const result = clockGettime(CLOCK_BOOTTIME, time);
  if (result < 0) throw new GatewayError("unreadable", `clock_gettime: ${errnoName(-result)}`);
  const view = new DataView(time.buffer);
  return Number(view.getBigInt64(0, true)) * 1000 + Math.floor(Number(view.getBigInt64(8, true)) / 1e6);
}
