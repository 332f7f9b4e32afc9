import t from "tap";
import { addressBytesOf } from "../../../../lib/model/address-bytes.ts";

function hex(text: string): string {
  return Buffer.from(addressBytesOf(text).bytes).toString("hex");
}

t.test("addresses as packets carry them", async (t) => {
  t.match(addressBytesOf("10.0.1.254"), { number: 2, destinationAt: 16 });
  t.equal(hex("10.0.1.254"), "0a0001fe");
  t.match(addressBytesOf("fd00::1"), { number: 10, destinationAt: 24 });
  const zeros = "0".repeat(28);
  for (const [text, bytes] of [
    ["fd00::1", `fd00${zeros.slice(0, 24)}0001`],
    ["::", `${zeros}0000`],
    ["::1", `${zeros}0001`],
    ["FE80::abcd%eth0", `fe80${zeros.slice(0, 24)}abcd`],
    ["2001:db8:1:2:3:4:5:6", "20010db8000100020003000400050006"],
    ["1::", `0001${zeros}`],
    ["::ffff:10.0.1.254", `${zeros.slice(0, 20)}ffff0a0001fe`],
  ] as const)
    t.equal(hex(text), bytes, text);
  for (const text of [
    "",
    "1:2",
    "1::2::3",
    "g::",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "10.0.1",
    "::10.0.1",
  ])
    t.throws(() => addressBytesOf(text), RangeError, text);
});
