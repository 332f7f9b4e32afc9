/** Streams whose other end may hang, or be gone without a word. */
import { timeoutAfter } from "../client/client.ts";

/** Ends a request that hears nothing for too long, by its signal. */
export function silenceGuard(other: AbortSignal | undefined) {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = (ms: number) => {
    timer = setTimeout(() => abort.abort(timeoutAfter(ms)), ms);
  };
  const end = () => clearTimeout(timer);
  /** While the reader is busy, the time does not run. */
  async function* within(ms: number, text: AsyncIterable<string>): AsyncGenerator<string> {
    try {
      begin(ms);
      for await (const part of text) {
        end();
        yield part;
        begin(ms);
      }
    } finally {
      end();
    }
  }
  return {
    signal: other === undefined ? abort.signal : AbortSignal.any([abort.signal, other]),
    begin,
    end,
    within,
  };
}
