/** What a row works with: settings, and plants that are removed whatever becomes of it. */
import { sweep, testName } from "../support/namespaces.ts";
import type { DataplaneName } from "./dataplanes.ts";
import { BarePlant, Plant } from "./plant.ts";
import { fipsOnly } from "./scenario.ts";

export interface BenchSettings {
  readonly objects: number;
  readonly runs: number;
  /** Few objects and runs, for a look. */
  readonly isQuick: boolean;
  /** The long leak check. */
  readonly isFull: boolean;
  readonly profileDirectory: string | undefined;
  /** The daemon's entry. */
  readonly agentMain: string;
}

let lastNumber = 0;

export class Bench {
  readonly settings: BenchSettings;
  readonly dataplane: DataplaneName;
  /** Says on stderr what is going on. */
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

  /** A gateway whose agent holds the settings' number of EIPs and FIPs. Rows share it and leave it as it was. */
  loaded(): Promise<Plant> {
    this.#loaded ??= this.plant().then(async (plant) => {
      this.say(`loading ${this.settings.objects} EIPs and FIPs`);
      await plant.load(fipsOnly(this.settings.objects));
      return plant;
    });
    return this.#loaded;
  }

  /** The same by the bare tools. */
  loadedBare(): Promise<BarePlant> {
    this.#loadedBare ??= this.barePlant().then((plant) => {
      this.say(`loading the same with the bare tools`);
      plant.load(this.dataplane, fipsOnly(this.settings.objects));
      return plant;
    });
    return this.#loadedBare;
  }

  /** A new one, empty. */
  async plant(): Promise<Plant> {
    const { profileDirectory, agentMain } = this.settings;
    const { dataplane } = this;
    return this.#begin(new Plant({ name: nextName(), dataplane, profileDirectory, agentMain }));
  }

  async barePlant(): Promise<BarePlant> {
    return this.#begin(new BarePlant(nextName()));
  }

  /** Removes every plant: so that none idles beside what is measured next. One call after the other. */
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

/** Names what a killed benchmark leaves behind, so that the next one removes it. */
function nextName(): string {
  return testName(`bench${++lastNumber}`);
}
