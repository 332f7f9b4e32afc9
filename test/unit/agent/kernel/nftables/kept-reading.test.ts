import t from "tap";
import type { ConversingConnection } from "../../../../../agent/kernel/netlink/connection.ts";
import { KeptReading } from "../../../../../agent/kernel/nftables/kept-reading.ts";
import { OwnCommits } from "../../../../../agent/kernel/nftables/own-commits.ts";
import { concatBytes, u32Attribute } from "../../../../../lib/netlink/attributes.ts";

const forever = new AbortController().signal;
const NFTA_GEN_ID = 1;

t.test("a reading is kept however many own commits to other tables follow, one by one", async (t) => {
  let generation = 7;
  const netlink = {
    async converse(_, onAnswer) {
      const value = new DataView(new ArrayBuffer(4));
      value.setUint32(0, generation);
      const bytes = concatBytes(new Uint8Array(4), u32Attribute(NFTA_GEN_ID, value.getUint32(0, true)));
      const header = { type: (10 << 8) | 15, flags: 0, sequence: 1, length: bytes.length, port: 0 };
      onAnswer(0, header, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length);
    },
  } as Pick<ConversingConnection, "converse"> as ConversingConnection;
  const own = new OwnCommits();
  let readings = 0;
  const reading = new KeptReading(netlink, own, {
    all: async () => ({ number: ++readings }),
    touched: async (last: { readonly number: number }) => last,
  });
  const first = await reading.read(forever);
  for (let commit = 0; commit < 500; commit++) {
    own.note(generation++);
    t.equal(await reading.read(forever), first);
  }
  generation++;
  t.not(await reading.read(forever), first, "somebody else's commit");
  t.equal(readings, 2);
});
