/** Why a pass runs. `isFull`: read and sweep everything, not only what changed. */
export interface PassRequest {
  readonly reasons: readonly string[];
  readonly isFull: boolean;
}

/** For readings outside of passes. */
export const quietRequest: PassRequest = { reasons: [], isFull: false };
