/** Why a pass runs. */
export interface PassRequest {
  readonly reasons: readonly string[];
  /** True: a full pass, which also sweeps flows although no object changed. */
  readonly isResync: boolean;
  /**
   * True: also does at once what waits for its next try: refused objects, and repairs that another program keeps
   * undoing.
   */
  readonly isRetry?: boolean;
}

/** For readings outside of passes, such as a dry run's: they only look. */
export const quietRequest: PassRequest = { reasons: [], isResync: false };

/** True for a pass, false for a reading outside of passes. */
export function isPass({ reasons }: PassRequest): boolean {
  return reasons.length > 0;
}
