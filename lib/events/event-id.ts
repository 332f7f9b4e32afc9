/**
 * The id of an event: `<epoch>.<sequence>`, such as `3f2a91c0-4097.5120000012`. Sequences rise within an epoch, across
 * restarts of the agent: {@link firstSequence}.
 */

export interface EventId {
  readonly epoch: string;
  readonly sequence: number;
}

const form = /^([\x21-\x7e]{1,128})\.(0|[1-9][0-9]{0,15})$/;

export function formatEventId({ epoch, sequence }: EventId): string {
  return `${epoch}.${sequence}`;
}

/** `undefined` for a text that {@link formatEventId} cannot have made. */
export function parseEventId(text: string): EventId | undefined {
  const [, epoch, sequence] = form.exec(text) ?? [];
  if (epoch === undefined || !Number.isSafeInteger(Number(sequence))) return undefined;
  return { epoch, sequence: Number(sequence) };
}

/** More events per millisecond than an agent can have. */
const sequencesPerMs = 1_000;

/**
 * The sequence before the first event of an agent that starts now. An epoch lies within one boot, so the clock of the
 * boot orders the agents of an epoch: each begins above everything that the one before it gave.
 *
 * @param bootMs milliseconds of CLOCK_BOOTTIME
 */
export function firstSequence(bootMs: number): number {
  return Math.floor(bootMs) * sequencesPerMs;
}
