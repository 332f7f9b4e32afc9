/** A reading outside of passes only looks. */
import t from "tap";
import { quietRequest } from "../../../../../agent/reconciler/pass-request.ts";
import { networkSubsystems } from "../../../../../agent/reconciler/subsystems/network.ts";

t.test("a pass makes the kernel ask routers by ARP, a dry run does not", async (t) => {
  const network = { links: [], addresses: [], routes: [], sysctls: new Map() };
  const driver = {
    observe: async () => network,
    observePaths: async () => ({ rules: [], tables: new Map() }),
  };
  const asked: boolean[] = [];
  const nextHops = {
    observe: async (_hops: unknown, _links: unknown, asks: boolean) => {
      asked.push(asks);
      return [];
    },
  };
  const { reach } = networkSubsystems(driver as never, nextHops);
  const { signal } = new AbortController();
  await reach.observe(signal, quietRequest);
  await reach.observe(signal, { reasons: ["timer"], isResync: true });
  t.same(asked, [false, true]);
});
