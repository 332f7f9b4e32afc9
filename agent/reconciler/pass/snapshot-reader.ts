/** Reads the kernel through every subsystem, and collects the facts that they share. */

import type { SubsystemName } from "../../../lib/model/change.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { type KernelFacts, type Snapshot, unknownFacts } from "../../../lib/plan/plan-input.ts";
import type { PassRequest } from "../pass-request.ts";
import type { Subsystem } from "../subsystem.ts";
import type { Applied } from "./apply-steps.ts";
import { TimedReader, type TimedReaderOptions } from "./timed-reader.ts";

export class SnapshotReader {
  readonly #readers: readonly (readonly [Subsystem, TimedReader])[];
  /** If a subsystem cannot be read now, the facts of its last reading stay. */
  #facts: Partial<KernelFacts> = {};
  #last: Snapshot | undefined;

  constructor(subsystems: readonly Subsystem[], options: TimedReaderOptions) {
    this.#readers = subsystems.map((subsystem) => [subsystem, new TimedReader(subsystem, options)]);
  }

  /** The last reading. `undefined` before the first. */
  get last(): Snapshot | undefined {
    return this.#last;
  }

  /** An incremental pass has read a part again. */
  replace(snapshot: Snapshot): void {
    this.#facts = snapshot.facts;
    this.#last = snapshot;
  }

  /**
   * Reads all subsystems independently. One that cannot be read or hangs is unread. Throws if the network cannot be
   * read, because nothing can be planned without it, and while both variants of iptables hold rules, because nothing
   * may be written then.
   *
   * @param before the reading to keep for subsystems that are not in `only`
   */
  async read(
    request: PassRequest,
    signal: AbortSignal,
    before?: Snapshot,
    only?: ReadonlySet<SubsystemName>,
  ): Promise<Snapshot> {
    const observed = new Map(before?.observed);
    const unread = new Map(before?.unread);
    const toRead = this.#readers.filter(([{ planner }]) => only?.has(planner.name) ?? true);
    const readings = await Promise.all(toRead.map(([, reader]) => reader.read(request, signal)));
    for (const [at, [subsystem]] of toRead.entries()) {
      const { name } = subsystem.planner;
      const reading = readings[at];
      if (reading === undefined) continue;
      if (reading.kind === "unread") {
        unread.set(name, reading.error);
        observed.delete(name);
        continue;
      }
      unread.delete(name);
      observed.set(name, reading.observed);
      if (subsystem.facts !== undefined)
        this.#facts = { ...this.#facts, ...subsystem.facts(reading.observed) };
    }
    const { network } = this.#facts;
    const fatal = unread.get("address") ?? unread.values().find(({ code }) => code === "mixed-variants");
    if (fatal !== undefined) throw fatal;
    if (network === undefined) throw new GatewayError("unreadable", "no subsystem reads the network");
    this.#last = { facts: { ...unknownFacts, ...this.#facts, network }, observed, unread };
    return this.#last;
  }

  /**
   * Reads again after steps were applied: everything if anything was written or refused, otherwise only the subsystems
   * whose steps ran.
   */
  async readAfter(
    { changes, failures, touched }: Applied,
    before: Snapshot,
    request: PassRequest,
    signal: AbortSignal,
  ): Promise<Snapshot> {
    if (changes.length + failures.length > 0) return this.read(request, signal);
    return touched.size === 0 ? before : this.read(request, signal, before, touched);
  }
}
