/** Where passes publish what they found of each object: the status board. */

import type { Chunked } from "../../lib/chunked.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { Verdict } from "../../lib/model/status.ts";
import type { State } from "../../lib/state/state.ts";

/** What a reading of the kernel allows to be said of the state that the pass works on. */
export interface PassReading {
  readonly state: State;
  readonly verdicts: ReadonlyMap<ObjectId, Verdict>;
  readonly verifiedAt: string;
}

/** What a pass found in the end. */
export interface PublishedPass extends PassReading {
  /** True where planning again asks for nothing: what is not desired is out of the kernel. */
  readonly isClean: boolean;
}

export interface VerdictSink {
  /** What a full pass found of every object. Nothing else may be published before the last part is done. */
  publish(result: PublishedPass): Chunked<void>;
  /** The same of a pass that looked at no more than `reached`; what was found of all others stands. */
  publishPart(result: PublishedPass, reached: ReadonlySet<ObjectId>): void;
  /** After a reading whose pass came to no end: takes Ready away from what it lacks, and gives it to nothing. */
  withdraw(reading: PassReading): void;
}
