/**
 * Runs in a gateway's namespace for tests of the conntrack driver: sweeps, lists and injects flows on request. Reads
 * one JSON request per line and answers with one line. Ends with its stdin, so it never outlives the test.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { openConntrack, openConntrackNetlink } from "../../agent/kernel/conntrack/driver.ts";
import { readConntrackStats } from "../../agent/kernel/conntrack/stats.ts";
import type { ConntrackStats } from "../../agent/kernel/drivers.ts";
import { endsAt, hasEndOf } from "../../lib/conntrack/ends.ts";
import type { Flow } from "../../lib/conntrack/flow.ts";
import { compileContradicts } from "../../lib/conntrack/permits.ts";
import { renderFlow } from "../../lib/conntrack/text.ts";
import { ipv4, toU32 } from "../../lib/model/ipv4.ts";
import {
  concatBytes,
  nestedAttribute,
  netU16Attribute,
  netU32Attribute,
  u8Attribute,
} from "../../lib/netlink/attributes.ts";
import { encodeDumpOf, isEntry } from "../../lib/netlink/ctnetlink.ts";
import { messageFlag, type NetlinkMessage } from "../../lib/netlink/message.ts";
import { ip, network, program, type SampleProgram } from "./conntrack-samples.ts";

export interface Sweep {
  readonly total: number;
  readonly removed: number;
  /** As text by {@link renderFlow}, sorted. */
  readonly flows: readonly string[];
  readonly findMs: number;
  readonly removeMs: number;
  /** The longest time for which the event loop was blocked. */
  readonly longestBlockMs: number;
}

export interface ConntrackCalls {
  /** Finds what contradicts `program`, and removes it. */
  sweep: [{ readonly program: SampleProgram; readonly retired?: readonly string[] }, Sweep];
  /** Finds the flows on an EIP and keeps them for {@link removeKept}. Returns their number. */
  keep: [{ readonly eip: string }, number];
  /** Uses other ids than those of the kernel, so no flow matches. */
  removeKept: [{ readonly idOffset: number }, { readonly removed: number }];
  /** Flows on EIPs: the first `limit` as text, and the total. */
  touching: [
    { readonly eips: readonly string[]; readonly limit: number },
    { readonly total: number; readonly flows: readonly string[] },
  ];
  /** How many entries the kernel itself returns for each end at an EIP. */
  given: [{ readonly eip: string }, readonly number[]];
  /** Creates `count` plain UDP entries from one client, each with its own port and destination. */
  inject: [{ readonly client: string; readonly count: number }, null];
  stats: [null, ConntrackStats];
}
type Handlers = {
  readonly [M in keyof ConntrackCalls]: (params: ConntrackCalls[M][0]) => Promise<ConntrackCalls[M][1]>;
};

const netlink = openConntrackNetlink();
const conntrack = openConntrack(netlink, ipv4);
let kept: readonly Flow[] = [];
const deadline = () => AbortSignal.timeout(30_000);

const handlers: Handlers = {
  async sweep({ program: sample, retired = [] }) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const begin = performance.now();
    const contradicts = compileContradicts({
      program: program(sample),
      retired: new Set(retired.map(ip)),
      network,
    });
    const { flows, total } = await conntrack.find(contradicts, Number.MAX_SAFE_INTEGER, deadline());
    const found = performance.now();
    const { removed } = await conntrack.remove(flows, deadline());
    const end = performance.now();
    delay.disable();
    return {
      total,
      removed,
      flows: flows.slice(0, 100).map(renderFlow).sort(),
      findMs: found - begin,
      removeMs: end - found,
      longestBlockMs: delay.max / 1e6,
    };
  },
  async keep({ eip }) {
    const ends = endsAt(ip(eip));
    kept = (await conntrack.find(hasEndOf(ends, ipv4), 100, deadline(), ends)).flows;
    return kept.length;
  },
  removeKept: ({ idOffset }) => {
    const flows = kept.map((flow) => ({ ...flow, id: (flow.id + idOffset) >>> 0 }));
    return conntrack.remove(flows, deadline());
  },
  async touching({ eips, limit }) {
    const ends = eips.map(ip).flatMap(endsAt);
    const { flows, total } = await conntrack.find(hasEndOf(ends, ipv4), limit, deadline(), ends);
    const whole = await conntrack.find(hasEndOf(ends, ipv4), limit, deadline());
    if (whole.total !== total) throw new Error(`${total} flows by filters, ${whole.total} by a whole dump`);
    return { total, flows: flows.map(renderFlow).sort() };
  },
  async given({ eip }) {
    const counts: number[] = [];
    for (const end of endsAt(ip(eip))) {
      let count = 0;
      await netlink.dump(encodeDumpOf(end, ipv4), (type) => isEntry(type) && count++, deadline());
      counts.push(count);
    }
    return counts;
  },
  async inject({ client, count }) {
    const messages = Array.from({ length: count }, (_, index) => newEntry(toU32(ip(client)), index));
    const errors = (await netlink.batch(messages, deadline())).filter((error) => error !== undefined);
    if (errors.length > 0) throw new Error(`${errors.length} not made: ${errors[0]?.message}`);
    return null;
  },
  stats: () => readConntrackStats(deadline()),
};

/** IPCTNL_MSG_CT_NEW; `nfnetlink_conntrack.h` has the numbers. */
function newEntry(client: number, index: number): NetlinkMessage {
  const server = 0xc6120000 + (index % 60_000);
  const port = 1024 + Math.floor(index / 60_000);
  const tuple = (type: number, source: number, destination: number, from: number, to: number) =>
    nestedAttribute(
      type,
      nestedAttribute(1, netU32Attribute(1, source), netU32Attribute(2, destination)),
      nestedAttribute(2, u8Attribute(1, 17), netU16Attribute(2, from), netU16Attribute(3, to)),
    );
  return {
    type: 0x100,
    flags: messageFlag.create | messageFlag.exclusive,
    payload: concatBytes(
      Uint8Array.of(2, 0, 0, 0),
      tuple(1, client, server, port, 53),
      tuple(2, server, client, 53, port),
      netU32Attribute(7, 600),
    ),
  };
}

async function answer(line: string): Promise<void> {
  const { id, method, params } = JSON.parse(line) as {
    id: number;
    method: keyof ConntrackCalls;
    params: never;
  };
  const reply = await handlers[method](params).then(
    (result) => ({ id, result }),
    (error: unknown) => ({ id, error: String(error) }),
  );
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) void answer(line);
netlink.close();
process.exit();
