/** One object with what the store knows about it. */
export interface Stored<S> {
  /** In canonical form: networks masked, absent optional fields left out. */
  readonly spec: S;
  /** The store's revision at which this spec was written. */
  readonly revision: number;
  /** Rises with each creation and is kept across replacing: of two that clash the lower is the elder. */
  readonly creation: number;
}
