/** A converged model gateway with one FIP, and tools that lie about its rules. */
import type { Test } from "tap";
import type { ModelKernel } from "./kernel.ts";
import { Player } from "./player.ts";
import type { Step } from "./script.ts";
import type { ModelDataplane } from "./tables.ts";

export const pass: Step = { do: "pass", isResync: true, during: [] };

/** It ends with the test. */
export async function playOneFip(t: Test, dataplane: ModelDataplane = "nft"): Promise<Player> {
  const player = new Player(dataplane);
  t.teardown(() => player.stop());
  await player.play([
    { do: "put", kind: "eip", spec: { name: "e0", address: "203.0.113.10/24" } },
    { do: "put", kind: "fip", spec: { name: "f0", eip: "e0", internalIp: "10.0.1.5" } },
    pass,
    pass,
  ]);
  return player;
}

/**
 * Tools leave out of their output what matches.
 * @returns makes them honest again
 */
export function leaveOut(kernel: ModelKernel, what: string | RegExp): () => void {
  const honest = kernel.command.bind(kernel);
  kernel.command = (argv, options) => {
    const output = honest(argv, options);
    return { ...output, stdout: output.stdout.replace(what, "") };
  };
  return () => {
    kernel.command = honest;
  };
}
