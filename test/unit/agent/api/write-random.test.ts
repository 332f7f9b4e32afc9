/**
 * Random writes to the API, judged by the model that also judges real gateways (`test/chaos/random-operations.test.ts`): each
 * answer, and the set stored after it. Here the clock is the test's: leases run out in no time, and the wall clock jumps.
 *
 * `NATGW_SEED` repeats a run, `NATGW_OPERATIONS` sets its length.
 */
import t from "tap";
import type { Ip } from "../../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";
import { ApiClient } from "../../../support/api-client.ts";
import { testApi } from "../../../support/api-fakes.ts";
import { labAddresses } from "../../../support/lab.ts";
import { randomFrom, seed } from "../../../support/random.ts";
import { Correspondent } from "../../../support/random-operations/answers.ts";
import { Model } from "../../../support/random-operations/model.ts";
import { Script } from "../../../support/random-operations/script.ts";

const operations = Number(process.env.NATGW_OPERATIONS ?? 1_000);
/** Less than the time for which deleted uids are remembered. */
const maxJumpMs = 3_600_000;

t.test("random writes are answered and stored as documented", async (t) => {
  const { api, board, reconciler, socketPath, now } = testApi();
  await api.listen();
  t.teardown(() => api.close());
  const own = Object.entries({ eth0: labAddresses.vpc, net1: labAddresses.external });
  reconciler.ownAddresses = new Set(own.map(([, address]) => address as Ip));
  const addresses = own.map(([name, address]) => ({
    interface: name as InterfaceName,
    address: address as Ip,
    prefixLength: 24,
    isSecondary: false,
    label: name,
  }));
  reconciler.network = { links: [], addresses, routes: [], sysctls: new Map() };
  // Nothing is ever Ready.
  board.outcome = "timeout";
  const client = new ApiClient(socketPath);
  t.teardown(() => client.close());

  const random = randomFrom(seed);
  const model = new Model();
  const script = new Script(random, model);
  const answers = new Correspondent(
    model,
    () => client,
    () => now.bootMs,
  );
  const history: string[] = [];
  const { wallMs } = now;
  try {
    await answers.write(script.firstSet());
    while (history.length < operations) {
      const operation = script.next();
      history.push(JSON.stringify(operation));
      now.bootMs += Math.floor(random() * 400);
      now.wallMs = wallMs + Math.floor((random() - 0.5) * maxJumpMs);
      if (operation.do === "expire") now.bootMs += 1_500;
      else if (operation.do === "invalid") await answers.sendInvalid(operation);
      else if (operation.do === "renew") await answers.write(operation);
      else if ("isDryRun" in operation || isWrite(operation.do))
        await answers.write({ ...(operation as Parameters<typeof answers.write>[0]), isWaiting: false });
    }
    t.pass(`${operations} operations`);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    const report = [...history.slice(-20), what].join("\n");
    t.fail(`operation ${history.length}, seed ${seed}`, { report });
  }
});

function isWrite(what: string): boolean {
  return ["put", "delete", "batch", "set"].includes(what);
}
