/** Who is announced, and who is asked about. */
import t from "tap";
import { ArpNotifier } from "../../../../../agent/reconciler/eips/arp-notifier.ts";
import type { ObservedNetwork } from "../../../../../lib/model/observed.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import { ip, nic } from "../../../../support/conntrack-samples.ts";

const net1 = nic("net1");
const networkWith = (...addresses: readonly string[]): ObservedNetwork => ({
  links: [],
  addresses: addresses.map((address) => {
    return { interface: net1, address: ip(address), prefixLength: 24, isSecondary: false, label: "" };
  }),
  routes: [],
  sysctls: new Map(),
});
const eips = ["203.0.113.10", "203.0.113.11"].map((address) => {
  return { id: `eips/${address}` as const, address: ip(address), prefixLength: 24, interface: net1 };
});
const program = { eips } as unknown as Program;

t.test("EIPs that came are announced; at the start those that stood are, too, and asked about", async (t) => {
  const announced: string[][] = [];
  const asked: string[][] = [];
  const addressesOf = (places: readonly { readonly address: string }[]) =>
    places.map(({ address }) => address);
  const notifier = new ArpNotifier({
    announcer: { announce: (places) => void announced.push(addressesOf(places)) },
    arpConflicts: { ask: (places) => void asked.push(addressesOf(places)) },
  });
  const one = networkWith("203.0.113.2", "203.0.113.10");
  const both = networkWith("203.0.113.2", "203.0.113.10", "203.0.113.11");
  notifier.tell(program, one, both);
  t.strictSame(announced, [["203.0.113.10", "203.0.113.11"]]);
  t.strictSame(asked, [["203.0.113.10"]], "what was added was asked about before");
  notifier.tell(program, both, both);
  t.equal(announced.length, 1, "where nothing changed nobody is told");
  notifier.tell(program, one, both);
  t.strictSame(announced[1], ["203.0.113.11"]);
  t.equal(asked.length, 1);
});
