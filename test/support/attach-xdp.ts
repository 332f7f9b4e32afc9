/**
 * Attaches an XDP program to a device of this namespace that drops IPv4 and lets everything else pass:
 *
 *   node test/support/attach-xdp.ts net1
 *
 * The kernel keeps it until `ip link set dev net1 xdpgeneric off`.
 */
import { readFileSync } from "node:fs";
import { libcFunction } from "../../agent/kernel/libc.ts";
import { NETLINK_ROUTE, openNetlink } from "../../agent/kernel/netlink/connection.ts";
import { concatBytes, nestedAttribute, u32Attribute } from "../../lib/netlink/attributes.ts";
import { linkHeaderOf } from "../../lib/netlink/rtnetlink-links.ts";

const malloc = libcFunction<[size: number]>("uintptr_t malloc(size_t)");
const memcpy = libcFunction<[to: number, from: Uint8Array, size: number]>(
  "uintptr_t memcpy(uintptr_t, void *, size_t)",
);
const syscall = libcFunction<[number: number, command: number, attributes: Uint8Array, size: number]>(
  "long syscall(long, int, void *, unsigned int)",
);

/** As `struct bpf_insn`: code, registers (source << 4 | destination), offset, value. */
const program: readonly (readonly [code: number, registers: number, offset: number, value: number])[] = [
  // r2 = data, r3 = data_end of `struct xdp_md`
  [0x61, 0x12, 0, 0],
  [0x61, 0x13, 4, 0],
  // if (r2 + 14 > r3) pass
  [0xbf, 0x24, 0, 0],
  [0x07, 0x04, 0, 14],
  [0x2d, 0x34, 4, 0],
  // if (the frame's type is not IPv4) pass
  [0x69, 0x25, 12, 0],
  [0x55, 0x05, 2, 0x0008],
  // return XDP_DROP
  [0xb7, 0x00, 0, 1],
  [0x95, 0x00, 0, 0],
  // return XDP_PASS
  [0xb7, 0x00, 0, 2],
  [0x95, 0x00, 0, 0],
];

const bpf = { x64: 321, arm64: 280 }[process.arch as "x64" | "arm64"];
const BPF_PROG_LOAD = 5;
const BPF_PROG_TYPE_XDP = 6;
const [IFLA_XDP, IFLA_XDP_FD, IFLA_XDP_FLAGS] = [43, 1, 3];
const XDP_FLAGS_SKB_MODE = 2;
const setLink = 19;

/** A copy that stays where it is. */
function kept(bytes: Uint8Array): number {
  const place = malloc(bytes.length);
  memcpy(place, bytes, bytes.length);
  return place;
}

function load(): number {
  const code = new DataView(new ArrayBuffer(program.length * 8));
  program.forEach(([operation, registers, offset, value], at) => {
    code.setUint8(at * 8, operation);
    code.setUint8(at * 8 + 1, registers);
    code.setInt16(at * 8 + 2, offset, true);
    code.setInt32(at * 8 + 4, value, true);
  });
  const attributes = new DataView(new ArrayBuffer(128));
  attributes.setUint32(0, BPF_PROG_TYPE_XDP, true);
  attributes.setUint32(4, program.length, true);
  attributes.setBigUint64(8, BigInt(kept(new Uint8Array(code.buffer))), true);
  attributes.setBigUint64(16, BigInt(kept(Buffer.from("GPL\0"))), true);
  return syscall(bpf, BPF_PROG_LOAD, new Uint8Array(attributes.buffer), 128);
}

const [device = ""] = process.argv.slice(2);
const index = Number(readFileSync(`/sys/class/net/${device}/ifindex`, "utf8"));
const fd = load();
if (fd < 0) throw new Error(`bpf: ${fd}`);
const netlink = openNetlink(NETLINK_ROUTE);
const [error] = await netlink.batch(
  [
    {
      type: setLink,
      flags: 0,
      payload: concatBytes(
        linkHeaderOf(index),
        nestedAttribute(
          IFLA_XDP,
          u32Attribute(IFLA_XDP_FD, fd),
          u32Attribute(IFLA_XDP_FLAGS, XDP_FLAGS_SKB_MODE),
        ),
      ),
    },
  ],
  AbortSignal.timeout(5_000),
);
netlink.close();
if (error !== undefined) throw new Error(error.message);
