/** What a row works with: the settings, and plants that are always removed at the end. */
import { sweep, testName } from "../support/namespaces.ts";
import type { DataplaneName } from "./dataplanes.ts";
import { BarePlant, Plant, type PlantOptions } from "./plant.ts";
import { fipsOnly } from "./scenario.ts";

export interface BenchSettings {
  readonly objects: number;
  readonly runs: number;
  /** Few objects and runs, for a quick check. */
  readonly isQuick: boolean;
  /** The long leak check. */
  readonly isFull: boolean;
  readonly profileDirectory: string | undefined;
  /** The daemon's entry file. */
  readonly agentMain: string;
}

let lastNumber = 0;

export class Bench {
  readonly settings: BenchSettings;
  readonly dataplane: DataplaneName;
  /** Prints progress on stderr. */
  readonly say: (text: string) => void;
  readonly #plants = new Set<Plant | BarePlant>();
  #clearing: Promise<void> = Promise.resolve();
  #loaded: Promise<Plant> | undefined;
  #loadedBare: Promise<BarePlant> | undefined;

  constructor(settings: BenchSettings, dataplane: DataplaneName, say: (text: string) => void) {
    this.settings = settings;
    this.dataplane = dataplane;
    this.say = say;
  }

  /** A gateway whose agent has the settings' number of EIPs and FIPs. Rows share it and must leave it unchanged. */
  loaded(): Promise<Plant> {
    this.#loaded ??= this.plant().then(async (plant) => {
      this.say(`loading ${this.settings.objects} EIPs and FIPs`);
      await plant.load(fipsOnly(this.settings.objects));
      return plant;
    });
    return this.#loaded;
  }

  /** The same with the bare tools. */
  loadedBare(): Promise<BarePlant> {
    this.#loadedBare ??= this.barePlant().then((plant) => {
      this.say(`loading the same with the bare tools`);
      plant.load(this.dataplane, fipsOnly(this.settings.objects));
      return plant;
    });
    return this.#loadedBare;
  }

  /** A new, empty plant. */
  async plant(more: Pick<PlantOptions, "isMetered"> = {}): Promise<Plant> {
    const { profileDirectory, agentMain } = this.settings;
    const { dataplane } = this;
    return this.#begin(new Plant({ name: nextName(), dataplane, profileDirectory, agentMain, ...more }));
  }

  async barePlant(): Promise<BarePlant> {
    return this.#begin(new BarePlant(nextName()));
  }

  /** Removes every plant, so that none runs beside the next measurement. Calls run one after the other. */
  clear(): Promise<void> {
    this.#clearing = this.#clearing.then(
      () => this.#removeAll(),
      () => this.#removeAll(),
    );
    return this.#clearing;
  }

  async #removeAll(): Promise<void> {
    this.#loaded = undefined;
    this.#loadedBare = undefined;
    for (const plant of this.#plants) {
      await plant.remove();
      this.#plants.delete(plant);
    }
  }

  async #begin<P extends Plant | BarePlant>(plant: P): Promise<P> {
    await sweep();
    this.#plants.add(plant);
    await plant.start();
    return plant;
  }
}

/** Names of what a killed benchmark leaves behind, so that the next one can remove it. */
function nextName(): string {
  return testName(`bench${++lastNumber}`);
}
