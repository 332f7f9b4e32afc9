/** Every write, and what a pass and a dry run compute from it, for state of any shape: bounded work in one turn. */
import t from "tap";
import { Turns } from "../../../../agent/api/answers/turns.ts";
import { applyBatchChunked } from "../../../../lib/admission/batch.ts";
import { deleteObjectChunked } from "../../../../lib/admission/delete-object.ts";
import { checkSet, putFullSetChunked } from "../../../../lib/admission/full-set.ts";
import { renewLeasesChunked } from "../../../../lib/admission/renew-leases.ts";
import type { Batch, FullSet } from "../../../../lib/admission/requests.ts";
import type { WriteContext } from "../../../../lib/admission/writes.ts";
import type { Chunked } from "../../../../lib/chunked.ts";
import { compile } from "../../../../lib/compile/compile.ts";
import { compileContradictsChunked } from "../../../../lib/conntrack/permits.ts";
import type { Spec } from "../../../../lib/kinds/registry.ts";
import type { Family } from "../../../../lib/model/family.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { collectionOf, type InterfaceName, kinds, type ObjectName } from "../../../../lib/model/names.ts";
import type { Program } from "../../../../lib/model/program.ts";
import { noElements } from "../../../../lib/nftables/maps.ts";
import { wantedGuardChunked } from "../../../../lib/plan/guard.ts";
import { judgeChunked } from "../../../../lib/plan/judge.ts";
import { planAddressesChunked } from "../../../../lib/plan/network/addresses.ts";
import { compareTableChunked } from "../../../../lib/plan/nftables/compare.ts";
import { wantedTable } from "../../../../lib/plan/nftables/layout.ts";
import { planTableChunked } from "../../../../lib/plan/nftables/table.ts";
import { makeObjects, objectsOf } from "../../../../lib/state/desired.ts";
import { reduceChunked } from "../../../../lib/state/reduce.ts";
import { emptyState, type State } from "../../../../lib/state/state.ts";
import { shapes } from "../../../support/api-shapes.ts";
import { WorkMeter } from "../../../support/work-meter.ts";

const count = 24_000;
/** Far fewer than there are objects. */
const looksAtOnce = 11_000;

const facts = {
  vpcInterface: "eth0" as InterfaceName,
  externalInterface: "net1" as InterfaceName,
  ownAddresses: new Set<never>(),
  fallbackGateway: undefined,
  connectedSubnets: [],
};
const context: WriteContext = {
  now: { bootId: "boot-1", bootMs: 1_000, wallMs: 1_700_000_000_000 },
  facts,
  isUnadopted: false,
  digest: (text) => String(text.length),
};

for (const [name, make] of Object.entries(shapes)) {
  t.test(name, async (t) => {
    const { state, network } = make(count);
    const meter = new WorkMeter();
    const turns = new Turns();
    meter.start();
    t.teardown(() => meter.stop());
    /** Runs it as the agent does. A refusal takes the same work. */
    const run = async <T>(what: string, parts: Chunked<T>): Promise<T | undefined> => {
      await turns.next();
      meter.reset();
      const result = await turns.run(parts).catch(() => undefined);
      // The meter counts the last part in the next turn.
      await turns.next();
      if (meter.most > looksAtOnce) t.fail(`${what}: ${meter.most} looks in one turn`);
      return result;
    };
    const specsOf = (of: State, list = meter.list.bind(meter)) =>
      Object.fromEntries(
        kinds.map((kind) => [
          collectionOf(kind),
          list(Array.from(objectsOf(of.desired, kind).values(), ({ spec }): Spec => spec)),
        ]),
      );
    const full: State = {
      ...state,
      desired: { ...state.desired, ...makeObjects((kind) => meter.map(objectsOf(state.desired, kind))) },
    };
    const set = { generation: 1, ...specsOf(state) } as unknown as FullSet;
    const checked = await run("checkSet", checkSet(set, context.digest));
    if (checked === undefined) throw new Error("the set is refused");
    const { canonical } = checked;
    const request = (generation: number, isEmpty = false) => ({
      set: {
        digest: String(generation),
        canonical: {
          generation,
          gateway: canonical.gateway,
          specsOf: (kind: (typeof kinds)[number]) => meter.list(isEmpty ? [] : canonical.specsOf(kind)),
        },
      },
    });
    const first = await run("a first full set", putFullSetChunked(emptyState, request(1), context));
    await run("its changes", reduceChunked(emptyState, meter.list(first?.changes ?? [])));
    await run("the same set", putFullSetChunked(full, request(2), context));
    await run("an empty set", putFullSetChunked(full, request(3, true), context));
    const replayed = { ...full, lastFullSet: { generation: 4, digest: "4" } };
    await run("a replay", putFullSetChunked(replayed, request(4), context));
    const names = (of: State) =>
      Object.fromEntries(
        Object.entries(specsOf(of, (list) => list)).map(([collection, specs]) => [
          collection,
          specs.map((spec) => spec.name),
        ]),
      );
    const batch = (of: State, given: object) => applyBatchChunked(of, { batch: given as Batch }, context);
    await run("a batch of the same", batch(full, { upsert: specsOf(state) }));
    const parts = [...batch(state, { delete: names(state) })];
    const objects = Object.values(names(state)).flat().length;
    if (parts.length < Math.floor(objects / looksAtOnce))
      t.fail(`a batch that deletes all: ${parts.length} parts`);
    const eip = "eip-0" as ObjectName;
    const request0 = { kind: "eip", name: eip, isCascading: true } as const;
    await run("a cascade", deleteObjectChunked(full, request0, context));
    await run("renewals", renewLeasesChunked(full, { eips: [...state.desired.eips.keys()] }, context));

    const family: Family = ipv4;
    const compiled = compile(state.desired, {
      ...facts,
      family,
      expiredLeases: new Set(),
      addressConflicts: new Map(),
      quarantined: new Map(),
      missingInterfaces: new Set(),
    });
    const { eips, fips, dnats, pools } = compiled.program;
    const program: Program = {
      ...compiled.program,
      eips: meter.list(eips),
      fips: meter.list(fips),
      dnats: meter.list(dnats),
      pools: meter.list(pools),
    };
    const observed = {
      ...network,
      addresses: meter.list(network.addresses),
      routes: meter.list(network.routes),
    };
    await run("the guard", wantedGuardChunked(program));
    await run(
      "addresses",
      planAddressesChunked({
        program,
        observed,
        ledger: state.ledger,
        ownedByRules: new Set(),
        own: new Set(),
        keep: new Set(),
        binding: "route",
      }),
    );
    const wanted = { ...wantedTable(compiled.program), visitChunked: wantedTable(program).visitChunked };
    const table = { definition: undefined, elements: noElements };
    const difference = await run("the table", compareTableChunked(wanted, table));
    if (difference !== undefined) await run("its changes", planTableChunked(wanted, table, difference));
    await run("verdicts", judgeChunked(full.desired, compiled, []));
    await run("flows", compileContradictsChunked({ program, retired: new Set(), network: observed }));
    t.pass();
  });
}
