/** One reading for several subsystems that are read at the same time. */

/**
 * Calls in the same turn of the event loop share one reading. A later call does not, even while that reading runs: it
 * may need to see what was written since it began.
 */
export function shareReading<T>(read: (signal: AbortSignal) => Promise<T>): typeof read {
  let shared: Promise<T> | undefined;
  return (signal) => {
    if (shared === undefined) {
      shared = read(signal);
      queueMicrotask(() => {
        shared = undefined;
      });
    }
    return shared;
  };
}
