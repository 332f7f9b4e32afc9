/** A write among thousands looks at the objects that it can clash with, not at all of them. */
import t from "tap";
import { applyBatch } from "../../../../lib/admission/batch.ts";
import { deleteObject } from "../../../../lib/admission/delete-object.ts";
import { putObject } from "../../../../lib/admission/put-object.ts";
import type { Batch } from "../../../../lib/admission/requests.ts";
import type { Decision, WriteContext } from "../../../../lib/admission/writes.ts";
import type { SpecOf } from "../../../../lib/kinds/registry.ts";
import type { InterfaceName, Kind, ObjectName } from "../../../../lib/model/names.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import { emptyState, type State } from "../../../../lib/state/state.ts";
import { countIteratedEntries } from "../../../support/iterated-entries.ts";
import { put } from "../../../support/small-sets.ts";

const count = 2_000;
const few = 40;

const specs: Readonly<Record<Exclude<Kind, "limit">, (at: number) => object>> = {
  eip: (at) => ({ name: `eip-${at}`, address: `198.18.${at >> 8}.${at & 255}/16` }),
  fip: (at) => ({ name: `fip-${at}`, eip: `eip-${at}`, internalIp: `10.0.${at >> 8}.${at & 255}` }),
  dnat: (at) => ({
    name: `dnat-${at}`,
    eip: "eip-1",
    protocol: "tcp",
    externalPort: 1_000 + at,
    internalIp: "10.0.9.9",
    internalPort: 80,
  }),
  snat: (at) => ({ name: `snat-${at}`, eip: "eip-1", internalCIDR: `10.1.${at >> 8}.${at & 255}/32` }),
  route: (at) => ({ name: `route-${at}`, destination: `10.2.${at >> 8}.${at & 255}/32`, via: "10.0.1.9" }),
};
const context: WriteContext = {
  now: { bootId: "b", bootMs: 0, wallMs: 0 },
  facts: {
    vpcInterface: "eth0" as InterfaceName,
    externalInterface: "net1" as InterfaceName,
    ownAddresses: new Set<never>(),
    fallbackGateway: undefined,
    connectedSubnets: [],
  },
  isUnadopted: false,
  digest: (text) => String(text.length),
};

for (const [kind, specOf] of Object.entries(specs) as [keyof typeof specs, (at: number) => object][]) {
  t.test(kind, async (t) => {
    let creation = 0;
    let state: State = reduce(
      emptyState,
      [specs.eip, ...(kind === "eip" ? [] : [specOf])].flatMap((make) =>
        Array.from({ length: count }, (_, at) =>
          put(make === specs.eip ? "eip" : kind, make(at), ++creation),
        ),
      ),
    );
    const iterated = countIteratedEntries(t);
    const step = (what: string, decide: (before: State) => Decision, most = few) => {
      iterated();
      const { changes } = decide(state);
      state = reduce(state, changes);
      const looks = iterated();
      t.ok(looks <= most, `${what}: ${looks} of ${count} objects`);
    };
    const write = (at: number, more = {}) => ({ ...specOf(at), ...more }) as SpecOf[typeof kind];
    const name = `${kind}-7` as ObjectName;
    step(
      "the first one, which makes the index",
      (before) => putObject(before, { kind, spec: write(count) }, context),
      3 * count,
    );
    step("a new one", (before) => putObject(before, { kind, spec: write(count + 1) }, context));
    step("the same again", (before) => putObject(before, { kind, spec: write(count + 1) }, context));
    step("another uid", (before) => putObject(before, { kind, spec: write(7, { uid: "u" }) }, context));
    step("a deletion", (before) => deleteObject(before, { kind, name, isCascading: true }, context));
    step("a batch of one", (before) =>
      applyBatch(before, { batch: { upsert: { [`${kind}s`]: [write(7)] } } as Batch }, context),
    );
  });
}
