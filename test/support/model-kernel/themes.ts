/** Plays scripts of a theme and shrinks a failing one to the steps that matter. */
import fc from "fast-check";
import { scripts, type Theme } from "./arbitraries.ts";
import { Player } from "./player.ts";
import { faultsAtRest } from "./rest.ts";
import type { Step } from "./script.ts";
import { servingScripts } from "./serving-scripts.ts";
import type { ModelDataplane } from "./tables.ts";
import { refusedPod } from "./universe.ts";

/** The same scripts in every run, so that only code changes matter. `NATGW_SEED` selects others, `NATGW_RUNS` more. */
export const seed = Number(process.env.NATGW_SEED ?? 20_261_121);
const multiplier = Number(process.env.NATGW_RUNS ?? 1);

/** The variants of iptables, and nftables. */
export const dataplanes: readonly ModelDataplane[] = ["nft", "legacy without nft", "nftables"];

export interface ThemeRun {
  readonly dataplane: ModelDataplane;
  readonly theme: Theme;
  /** How many scripts, before `NATGW_RUNS`. */
  readonly runs: number;
}

export interface ThemeResult {
  /** How many scripts were played. */
  readonly scripts: number;
  /** How many of them made incremental passes. */
  readonly incremental: number;
  /** The shrunk script that fails, as JSON, with what is wrong after it. */
  readonly failure: { readonly steps: readonly string[]; readonly error: string } | undefined;
}

export async function checkScripts({ dataplane, theme, runs }: ThemeRun): Promise<ThemeResult> {
  let incremental = 0;
  const anyScript = theme.isServing === true ? servingScripts(theme) : scripts(theme);
  const property = fc.asyncProperty(anyScript, async (script) => {
    const { faults, incrementalPasses } = await play(script, dataplane, theme);
    if (incrementalPasses > 0) incremental++;
    if (faults.length > 0) throw new Error(faults.join("\n"));
  });
  const result = await fc.check(property, { seed, numRuns: Math.ceil(runs * multiplier) });
  const failure = {
    steps: (result.counterexample?.[0] ?? []).map((step) => JSON.stringify(step)),
    error: String(result.errorInstance).split("\n").slice(0, 12).join("\n"),
  };
  return { scripts: result.numRuns, incremental, failure: result.failed ? failure : undefined };
}

/** The faults after playing `script`, as text. */
export async function faultsOf(
  script: readonly Step[],
  dataplane: ModelDataplane,
  theme: Theme = {},
): Promise<readonly string[]> {
  return (await play(script, dataplane, theme)).faults;
}

interface Played {
  /** What is wrong afterwards, as text. */
  readonly faults: readonly string[];
  /** How many passes were incremental to their end. */
  readonly incrementalPasses: number;
}

async function play(script: readonly Step[], dataplane: ModelDataplane, theme: Theme): Promise<Played> {
  const isRefusing = theme.refused === true;
  const player = new Player(
    dataplane,
    isRefusing ? new RegExp(refusedPod.replaceAll(".", "\\.")) : undefined,
    // An address that is probed for is added by a full pass.
    theme.isServing !== true || theme.wire === true,
  );
  try {
    await player.play(script);
    const { incrementalPasses } = player;
    const isAtRest = await player.settle();
    const faults = [...(isAtRest ? [] : ["it never comes to rest"]), ...faultsAtRest(player)];
    if (faults.length > 0 || !(await player.revive())) return { faults, incrementalPasses };
    const renewed = faultsAtRest(player).map((fault) => `once all leases are renewed: ${fault}`);
    return { faults: renewed, incrementalPasses };
  } finally {
    player.stop();
  }
}
