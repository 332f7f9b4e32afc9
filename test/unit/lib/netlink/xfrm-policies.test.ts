/** IPsec policies as the kernel sends them. */
import t from "tap";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { decodeDefaultBlocks, decodePolicy, type XfrmPolicy } from "../../../../lib/netlink/xfrm-policies.ts";
import { toIp } from "../../../support/network-values.ts";
import { encodePolicy, policyOf, prefixOf, templateOf } from "../../../support/policies.ts";

const address = (text: string) => ipv4.toValue(toIp(text));

/** No limits, and when it was added. */
const lifetimes = `${"ff".repeat(32)}${"00".repeat(32)}${"00".repeat(16)}a2e30d6b00000000${"00".repeat(8)}`;
const anywhere = "00".repeat(40);

function decode(hex: string): XfrmPolicy | undefined {
  const bytes = Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
  return decodePolicy(new DataView(bytes.buffer), 0, bytes.length, ipv4);
}

t.test("what Linux 6.18 sent", async (t) => {
  t.same(
    decode(
      `${"00".repeat(16)}0a000000${"00".repeat(20)}0200 00 08 00000000 00000000 00000000 ${lifetimes}
      00000000 a2030000 02 01 0000 00000000 0a00100000000000 00000000`.replace(/\n */g, ""),
    ),
    policyOf("fwd 10.0.0.0/8 > 0.0.0.0/0"),
    "src 10.0.0.0/8 dst 0.0.0.0/0 dir fwd action block",
  );
  const full = decode(
    `cb00710b${"00".repeat(12)}01020300${"00".repeat(12)}1f90ffff0005ffff 0200 20 18 06000000 03000000 00000000 ${lifetimes}
    07000000 aa030000 02 00 0000 00000000
    84000500 cb007101${"00".repeat(16)}32000000 02000000 cb0071fe${"00".repeat(12)}04000000 01000000 ${"ff".repeat(12)}
    ${"00".repeat(20)}33000000 02000000 ${"00".repeat(20)}00000100 ${"ff".repeat(12)}
    0a00100000000000 00000000 0c00150005000000ff000000 08001f0009000000`.replace(/\n */g, ""),
  );
  t.same(full, {
    ...policyOf("fwd 1.2.3.0/24 > 203.0.113.11/32"),
    action: "allow",
    protocol: 6,
    sourcePort: { value: 5, mask: 0xffff },
    destinationPort: { value: 8080, mask: 0xffff },
    interfaceIndex: 3,
    priority: 7,
    mark: { value: 5, mask: 0xff },
    interfaceId: 9,
    templates: [
      {
        source: address("203.0.113.254"),
        destination: address("203.0.113.1"),
        protocol: 50,
        mode: 1,
        isOptional: false,
      },
      {
        source: address("0.0.0.0"),
        destination: address("0.0.0.0"),
        protocol: 51,
        mode: 0,
        isOptional: true,
      },
    ],
  });
  const sub = decode(
    `${anywhere}0200${"00".repeat(14)}${lifetimes}00000000b9030000 0101000000000000 0a00100001000000 00000000`,
  );
  t.match(sub, { direction: "out", isSub: true, action: "block" });
});

t.test("policies that packets of objects do not meet", async (t) => {
  const tail = `${"00".repeat(14)}${lifetimes}00000000b0030000`;
  t.equal(decode(`${anywhere}0a00${tail}0001000000000000`), undefined, "of IPv6");
  t.equal(decode(`${anywhere}0200${tail}0300000000000000`), undefined, "of a socket");
});

t.test("what is cut short is unreadable", async (t) => {
  const bytes = encodePolicy(policyOf("out 0.0.0.0/0 > 0.0.0.0/0", { templates: [templateOf()] }));
  for (const length of [100, 167, 170, 200, 230]) {
    const part = bytes.slice(0, length);
    t.throws(() => decodePolicy(new DataView(part.buffer), 0, length, ipv4), `${length} bytes`);
  }
});

t.test("a label, and an action that nobody knows", async (t) => {
  const policy = policyOf("in 10.0.0.0/8 > 0.0.0.0/0");
  const bytes = Uint8Array.from([...encodePolicy(policy), 8, 0, 8, 0, 0, 0, 0, 0]);
  bytes[161] = 7;
  t.same(decodePolicy(new DataView(bytes.buffer), 0, bytes.length, ipv4), {
    ...policy,
    source: prefixOf("10.0.0.0/8"),
    action: "unknown",
    hasLabel: true,
  });
});

t.test("what happens to packets without a policy", async (t) => {
  const decoded = (...bytes: readonly number[]) =>
    decodeDefaultBlocks(new DataView(Uint8Array.from(bytes).buffer), 0);
  t.same(decoded(2, 2, 2, 0), { in: false, fwd: false, out: false });
  t.same(decoded(2, 1, 2, 0), { in: false, fwd: true, out: false });
});
