/**
 * Sends datagrams from a namespace as fast as system calls allow. Each goes to another port, so each creates a new
 * flow.
 */
import { close, errnoName, libcFunction, socket } from "../../agent/kernel/libc.ts";
import { parseIp, toU32 } from "../../lib/model/ipv4.ts";
import { within } from "./timing.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const sendto = libcFunction<
  [fd: number, bytes: Uint8Array, length: number, flags: number, to: Uint8Array, toLength: number]
>("long sendto(int, void *, size_t, int, void *, uint32_t)");
const payload = Uint8Array.of(1);

export class DatagramSender {
  readonly #fd: number;

  constructor(namespace: string) {
    this.#fd = within(namespace, () => socket(AF_INET, SOCK_DGRAM, 0));
    if (this.#fd < 0) throw new Error(`socket: ${errnoName(-this.#fd)}`);
  }

  /**
   * Sends `count` datagrams to the ports from `firstPort` on. On a veth the sending thread carries each one through the
   * gateway to the pod before the call returns.
   *
   * @returns microseconds per datagram
   */
  send(address: string, firstPort: number, count: number): number {
    return this.#send(address, count, (at) => firstPort + at);
  }

  /**
   * Sends `count` datagrams of one flow, in the same way.
   *
   * @returns microseconds of CPU time per datagram, which other work on the machine does not lengthen
   */
  sendOn(address: string, port: number, count: number): number {
    const begun = process.threadCpuUsage();
    this.#send(address, count, () => port);
    const { user, system } = process.threadCpuUsage(begun);
    return (user + system) / count;
  }

  #send(address: string, count: number, portOf: (at: number) => number): number {
    const to = socketAddress(address);
    const view = new DataView(to.buffer);
    const start = performance.now();
    for (let at = 0; at < count; at++) {
      view.setUint16(2, portOf(at));
      const result = sendto(this.#fd, payload, payload.length, 0, to, to.length);
      if (result < 0) throw new Error(`sendto: ${errnoName(-result)}`);
    }
    return ((performance.now() - start) * 1000) / count;
  }

  close(): void {
    close(this.#fd);
  }
}

/** `struct sockaddr_in` without the port. */
function socketAddress(text: string): Uint8Array<ArrayBuffer> {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(`no address: ${text}`);
  const bytes = new Uint8Array(16);
  bytes[0] = AF_INET;
  new DataView(bytes.buffer).setUint32(4, toU32(address));
  return bytes;
}
