/** When an agent without state takes over what the kernel holds, on a kernel in memory. */
import t from "tap";
import { degradations } from "../../../../agent/status/degradations.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";
import type { Gateway } from "../../../../lib/model/schema.ts";
import { ModelAgent } from "../../../support/model-kernel/agent.ts";
import { ModelKernel } from "../../../support/model-kernel/kernel.ts";
import { Disk, ModelClock, Wire } from "../../../support/model-kernel/world.ts";

const rules = [
  "*nat",
  ...["DNAT_FILTER", "SNAT_FILTER", "EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT"].map((chain) => `:${chain} - [0:0]`),
  "-A EXCLUSIVE_DNAT -d 203.0.113.10/32 -j DNAT --to-destination 10.0.1.5",
  "-A EXCLUSIVE_SNAT -s 10.0.1.5/32 -j SNAT --to-source 203.0.113.10",
  "-A EXCLUSIVE_SNAT -s 10.0.1.0/24 -j SNAT --to-source 203.0.113.10",
  "COMMIT",
  "",
].join("\n");

function agentOn(
  kernel: ModelKernel,
  isAdopting: boolean,
  disk = new Disk(),
  checkGateway: (gateway: Gateway) => Promise<void> = async () => {},
) {
  const clock = new ModelClock();
  const around = { kernel, disk, wire: new Wire(), clock, epoch: "1", onPass: () => {} };
  const agent = new ModelAgent({ ...around, isAdopting, checkGateway });
  const fips = () => [...disk.state.desired.fips.keys()];
  return { agent, clock, disk, fips };
}

function liveKernel(): ModelKernel {
  const kernel = new ModelKernel("nft");
  kernel.tables.restore(rules);
  return kernel;
}

t.test("only if the settings say so", async (t) => {
  const kernel = liveKernel();
  const asking = agentOn(kernel, false);
  await asking.agent.pass(true);
  t.notOk(asking.disk.state.isSet);
  t.equal(asking.agent.findings?.verdicts, undefined);
  asking.agent.kill();

  const { agent, disk, fips } = agentOn(kernel, true);
  t.teardown(() => agent.kill());
  await agent.pass(true);
  t.ok(disk.state.isSet);
  t.strictSame(fips(), ["203.0.113.10"]);
  t.match(agent.adoption.unread, [
    { what: "-A EXCLUSIVE_SNAT -s 10.0.1.0/24 -j SNAT --to-source 203.0.113.10" },
  ]);
  t.equal(agent.findings?.gate, "open");
  const set = { generation: 3, digest: "x" };
  disk.keep([{ type: "full-set", ...set }]);
  t.strictSame(agent.adoption.unread, [], "a full set says what is desired");
});

t.test("while the set cannot be stored, nothing changes", async (t) => {
  const disk = new Disk();
  disk.isFull = true;
  const kernel = liveKernel();
  const { agent, fips } = agentOn(kernel, true, disk);
  t.teardown(() => agent.kill());
  await agent.pass(true);
  t.equal(agent.findings?.verdicts, undefined);
  t.equal(kernel.writes, 0);
  disk.isFull = false;
  await agent.pass(true);
  t.strictSame(fips(), ["203.0.113.10"]);
});

t.test("interfaces with which the agent could not start are not taken over", async (t) => {
  const kernel = liveKernel();
  const writes = kernel.writes;
  const disk = new Disk();
  const asked: Gateway[] = [];
  const { agent } = agentOn(kernel, true, disk, (gateway) => {
    asked.push(gateway);
    throw new GatewayError("conflict", "the API listens there");
  });
  t.teardown(() => agent.kill());
  t.equal(agent.adoption.refusal, undefined);
  for (const _ of ["the first pass", "and the next"]) {
    await agent.pass(true);
    t.notOk(disk.state.isSet);
    t.equal(agent.findings?.verdicts, undefined);
    const store = {
      current: disk.state,
      recovery: { recovered: "fresh", detail: "" },
      failure: undefined,
    } as const;
    const { adoption } = agent;
    t.match(
      degradations({ api: [], store, reconciler: { result: agent.findings, failure: undefined, adoption } }),
      [
        {
          reason: "NotAdopted",
          message: /^the kernel holds .* NATGW_ADOPT=auto does not: the API listens there$/,
        },
      ],
    );
  }
  t.match(asked, [{}, {}], "its gateway");
  t.equal(kernel.writes, writes);
});

t.test("not after a first pass that found nothing", async (t) => {
  const kernel = new ModelKernel("nft");
  const { agent, disk } = agentOn(kernel, true);
  t.teardown(() => agent.kill());
  await agent.pass(true);
  t.notOk(disk.state.isSet);
  kernel.tables.restore(rules);
  await agent.pass(true);
  t.notOk(disk.state.isSet, "another program added these rules");
  t.equal(agent.findings?.verdicts, undefined);
});

t.test("a gate that an agent before closed opens once no write came for 5 s", async (t) => {
  const kernel = new ModelKernel("nft");
  const first = agentOn(kernel, false);
  await first.agent.pass(true);
  t.ok(kernel.isGateClosed());
  first.agent.kill();
  kernel.tables.restore(rules);
  const { agent, clock } = agentOn(kernel, true);
  t.teardown(() => agent.kill());
  await agent.pass(true);
  await agent.pass(true);
  t.ok(kernel.isGateClosed(), "the set may have come call by call");
  clock.pass(5_000);
  await agent.pass(true);
  t.notOk(kernel.isGateClosed(), "the set was accepted");
});
