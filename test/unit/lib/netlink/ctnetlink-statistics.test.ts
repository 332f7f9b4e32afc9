/** Counters of conntrack as the kernel sends them. */
import t from "tap";
import { concatBytes, netU32Attribute } from "../../../../lib/netlink/attributes.ts";
import { decodeConntrackStatistics, noCounts } from "../../../../lib/netlink/ctnetlink-statistics.ts";

t.test("the CPU and its counters; those of no interest and those that are missing", async (t) => {
  // struct nfgenmsg: family, version, the CPU in network byte order. Then found, invalid, insert_failed, drop.
  const payload = concatBytes(
    Uint8Array.of(2, 0, 1, 3),
    netU32Attribute(2, 77),
    netU32Attribute(4, 5),
    netU32Attribute(9, 0xffff_ffff),
    netU32Attribute(10, 8),
  );
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  t.same(decodeConntrackStatistics(view, 0, payload.length), {
    cpu: 0x0103,
    counts: { ...noCounts(), found: 77, invalid: 5, insertFailed: 0xffff_ffff, drop: 8 },
  });
});
