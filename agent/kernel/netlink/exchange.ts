/** One exchange on a netlink socket: send, then receive until the answer is complete. */
import { setTimeout as delay, setImmediate as yieldToLoop } from "node:timers/promises";
import { GatewayError } from "../../../lib/model/errors.ts";
import { forEachMessage, type MessageVisitor } from "../../../lib/netlink/message.ts";
import { errnoName } from "../libc.ts";
import type { NetlinkSocket } from "./socket.ts";

/** Like `MessageVisitor`. Returns true for the message that completes the answer. */
export type AnswerVisitor = (...message: Parameters<MessageVisitor>) => boolean | undefined;

/**
 * Sends `bytes` and passes every received message to `visit` until that returns true. The event loop runs between two
 * buffers.
 *
 * Throws `netlink-failed` if the socket fails or was closed, or if an answer overran the socket, was truncated to the
 * size of `buffer`, or did not complete in time. What the kernel did is then unknown, and the socket must be closed.
 */
export async function exchange(
  socket: NetlinkSocket,
  bytes: Uint8Array,
  buffer: Uint8Array,
  timeoutMs: number,
  signal: AbortSignal,
  visit: AnswerVisitor,
): Promise<void> {
  const limit = limitTo(timeoutMs, signal);
  try {
    const sent = await limit.wait(socket.send(bytes));
    if (sent !== bytes.length) throw failed("send", sent);

    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    for (let isComplete = false; !isComplete; ) {
      limit.throwIfOver();
      const length = socket.receive(buffer);
      if (length === -EAGAIN) {
        // Usually the answer is there right after the send. The delay is for kernels that answer later.
        await limit.wait(socket.readable?.() ?? delay(1));
        continue;
      }
      if (length < 0) throw failed("receive", length);
      if (length > buffer.length) {
        throw new GatewayError("netlink-failed", `a netlink answer of ${length} bytes was truncated`);
      }
      forEachMessage(view, length, (header, _, start, end) => {
        if (visit(header, view, start, end)) isComplete = true;
      });
      if (!isComplete) await yieldToLoop();
    }
  } finally {
    limit.end();
  }
}

const EBADF = 9;
const EAGAIN = 11;

function failed(call: "send" | "receive", result: number): GatewayError {
  if (result === -EBADF) return new GatewayError("netlink-failed", "the netlink connection was closed");
  // ENOBUFS is an overrun: answers were lost.
  const code = result < 0 ? errnoName(-result) : "short";
  return new GatewayError("netlink-failed", `netlink ${call}: ${code}`, { details: { code } });
}

interface Limit {
  /** Waits for `promise`, but not beyond the limit. After that the promise is left alone. */
  wait<T>(promise: Promise<T>): Promise<T>;
  throwIfOver(): void;
  end(): void;
}

/** One timer and one listener for all waits of an exchange: a large batch has hundreds of exchanges. */
function limitTo(timeoutMs: number, signal: AbortSignal): Limit {
  const deadline = performance.now() + timeoutMs;
  const late = () => new GatewayError("netlink-failed", `no answer within ${timeoutMs} ms`);
  const { promise: over, reject } = Promise.withResolvers<never>();
  // It may be rejected while nothing waits.
  over.catch(() => undefined);
  const onAbort = () => reject(signal.reason);
  const timer = setTimeout(() => reject(late()), timeoutMs);
  signal.addEventListener("abort", onAbort);
  return {
    wait: (promise) => Promise.race([promise, over]),
    throwIfOver() {
      signal.throwIfAborted();
      if (performance.now() > deadline) throw late();
    },
    end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    },
  };
}
