/** Sends one datagram from each of many source ports to one destination: tens of thousands of real flows within seconds. */
import { close, errnoName, libcFunction, socket } from "../../agent/kernel/libc.ts";
import { parseIp, toU32 } from "../../lib/model/ipv4.ts";
import { enterNamespace } from "./enter-namespace.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const bind = libcFunction<[fd: number, address: Uint8Array, length: number]>(
  "int bind(int, void *, uint32_t)",
);
const sendto = libcFunction<
  [fd: number, bytes: Uint8Array, length: number, flags: number, to: Uint8Array, toLength: number]
>("long sendto(int, void *, size_t, int, void *, uint32_t)");

const setAffinity = libcFunction<[pid: number, size: number, cpus: Uint8Array]>(
  "int sched_setaffinity(int, size_t, void *)",
);
const [firstCpu, everyCpu] = [Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), new Uint8Array(128).fill(0xff)];

export interface UdpFlows {
  readonly address: string;
  readonly port: number;
  readonly firstPort: number;
  readonly count: number;
  /** One of the namespace's addresses. Absent: the kernel takes one. */
  readonly from?: string;
}

/**
 * On a veth the call returns when the gateway has forwarded or dropped the last one. All on one CPU: on two, packets of two flows may
 * get the same port at the same time, and the kernel drops one of them.
 */
export function sendUdpFlows(
  namespace: string,
  { address, port, firstPort, count, from = "0.0.0.0" }: UdpFlows,
): void {
  const leave = enterNamespace(namespace);
  checked("sched_setaffinity", setAffinity(0, firstCpu.length, firstCpu));
  try {
    const to = socketAddress(numberOf(address), port);
    const source = numberOf(from);
    for (let own = firstPort; own < firstPort + count; own++) {
      const fd = checked("socket", socket(AF_INET, SOCK_DGRAM, 0));
      checked("bind", bind(fd, socketAddress(source, own), 16));
      checked("sendto", sendto(fd, Uint8Array.of(1), 1, 0, to, 16));
      close(fd);
    }
  } finally {
    setAffinity(0, everyCpu.length, everyCpu);
    leave();
  }
}

function numberOf(address: string): number {
  return toU32(parseIp(address) ?? fail(address));
}

function checked(what: string, result: number): number {
  if (result < 0) throw new Error(`${what}: ${errnoName(-result)}`);
  return result;
}

/** `struct sockaddr_in`. */
function socketAddress(address: number, port: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  view.setUint32(4, address);
  return new Uint8Array(view.buffer);
}

function fail(text: string): never {
  throw new TypeError(`no address: ${text}`);
}
