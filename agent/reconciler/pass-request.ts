/** What woke a pass. `isFull` asks for everything to be read and swept, not only what changed. */
export interface PassRequest {
  readonly reasons: readonly string[];
  readonly isFull: boolean;
}

/** What asks for a reading beside the passes. */
export const quietRequest: PassRequest = { reasons: [], isFull: false };
