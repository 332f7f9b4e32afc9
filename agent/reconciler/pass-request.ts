/** Why a pass runs. */
export interface PassRequest {
  readonly reasons: readonly string[];
  /** True: reads and sweeps everything, not only what changed. */
  readonly isFull: boolean;
  /** True: also tries refused objects at once, without waiting for their next try. */
  readonly isRetry?: boolean;
}

/** For readings outside of passes. */
export const quietRequest: PassRequest = { reasons: [], isFull: false };
