import t from "tap";
import type { ConntrackDriver } from "../../../../../agent/kernel/drivers.ts";
import { FlowSweep } from "../../../../../agent/reconciler/subsystems/flow-sweep.ts";
import type { Flow } from "../../../../../lib/conntrack/flow.ts";
import type { Ip } from "../../../../../lib/model/ip.ts";

const forever = new AbortController().signal;
const ip = (text: string) => text as Ip;

t.test("the sweep kills no flow more than twice under one program", async (t) => {
  const tuple = {
    source: ip("10.0.1.5"),
    destination: ip("198.51.100.1"),
    sourcePort: 1000,
    destinationPort: 53,
  };
  const flow: Flow = { protocol: 17, original: tuple, reply: tuple, status: 0, zone: 0, id: 1 };
  let isStubborn = true;
  let present = [flow];
  const conntrack: ConntrackDriver = {
    find: async () => ({ flows: present, total: present.length }),
    remove: async (flows) => {
      if (!isStubborn) present = [];
      return { removed: flows.length };
    },
    readStats: async () => ({ count: present.length, max: 1_000 }),
  };
  const sweep = new FlowSweep(conntrack);
  const always = () => true;
  const programs = [{}, {}] as const;
  for (const expected of [
    { removed: 1, remaining: [], shadowed: 0 },
    { removed: 1, remaining: [], shadowed: 0 },
    { removed: 0, remaining: [], shadowed: 1 },
    // A spared flow stays remembered. Otherwise every second sweep would end it.
    { removed: 0, remaining: [], shadowed: 1 },
  ]) {
    t.strictSame(await sweep.sweep(always, programs[0], forever), expected);
  }
  isStubborn = false;
  t.strictSame(
    await sweep.sweep(always, programs[1], forever),
    { removed: 1, remaining: [], shadowed: 0 },
    "another program, another count",
  );
});
