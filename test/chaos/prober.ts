/**
 * Asks an agent's probes again and again, in a thread of its own: the work of the test does not delay it. As a worker it
 * tells of each answer.
 */
import { setTimeout as delay } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { ask } from "../support/raw-http.ts";

export interface ProbeAnswer {
  readonly path: string;
  /** Absent if there was none. */
  readonly status?: number;
  readonly ms: number;
}

const paths = ["/livez", "/readyz"] as const;
const pauseMs = 100;

/** @returns stops it */
export function startProber(
  socketPath: string,
  onAnswer: (answer: ProbeAnswer) => void,
): () => Promise<unknown> {
  const worker = new Worker(new URL(import.meta.url), { workerData: socketPath });
  worker.on("message", onAnswer);
  return () => worker.terminate();
}

async function probe(socketPath: string, path: string): Promise<never> {
  for (;;) {
    const begunMs = performance.now();
    const status = await ask({ path: socketPath }, "GET", path).then(
      (answer) => answer.status,
      () => undefined,
    );
    const answer: ProbeAnswer = {
      path,
      ms: performance.now() - begunMs,
      ...(status !== undefined && { status }),
    };
    parentPort?.postMessage(answer);
    await delay(pauseMs);
  }
}

if (!isMainThread) for (const path of paths) void probe(workerData as string, path);
