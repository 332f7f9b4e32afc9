/** One object with what the store knows about it. */
export interface Stored<S> {
  /** In canonical form: networks are masked, absent optional fields are left out. */
  readonly spec: S;
  /** The store's revision at which this spec was written. */
  readonly revision: number;
  /**
   * Rises with each creation and stays when the object is replaced. Of two clashing objects, the one with the lower
   * number is older.
   */
  readonly creation: number;
}
