/** Where passes publish what they found for each object: the status board. */

import type { Chunked } from "../../lib/chunked.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { ObjectVerdict } from "../../lib/model/status.ts";
import type { State } from "../../lib/state/state.ts";

/** The verdicts on the objects of a state, judged from one reading of the kernel. */
export interface PassReading {
  readonly state: State;
  readonly verdicts: ReadonlyMap<ObjectId, ObjectVerdict>;
  readonly verifiedAt: string;
}

/** The final result of a pass. */
export interface PublishedPass extends PassReading {
  /** True if nothing is left to remove: everything that is not desired is out of the kernel. */
  readonly isCleared: boolean;
}

export interface VerdictSink {
  /** Publishes what a full pass found for every object. Publish nothing else until the last part is done. */
  publish(result: PublishedPass): Chunked<void>;
  /** Publishes a pass over `affected` only. Results of all other objects stay. */
  publishPart(result: PublishedPass, affected: ReadonlySet<ObjectId>): void;
  /**
   * For a reading whose pass did not finish: takes Ready away from objects that the kernel lacks. Makes nothing Ready.
   * Publish nothing else until the last part is done.
   */
  withdraw(reading: PassReading): Chunked<void>;
}
