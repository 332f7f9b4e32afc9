/** Why a pass runs. */
export interface PassRequest {
  readonly reasons: readonly string[];
  /** True: a full pass, which also sweeps flows although no object changed. */
  readonly isResync: boolean;
  /** True: also tries refused objects at once, without waiting for their next try. */
  readonly isRetry?: boolean;
}

/** For readings outside of passes. */
export const quietRequest: PassRequest = { reasons: [], isResync: false };
