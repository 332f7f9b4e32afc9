/**
 * An agent programs a random set on a kernel in memory and loses its state. The next one takes over what it finds: it finds the
 * same objects and writes nothing.
 */
import { deepStrictEqual } from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import type { PassResult } from "../../../../agent/reconciler/pass/pass-result.ts";
import type { Program } from "../../../../lib/model/program.ts";
import { ModelAgent } from "../../../support/model-kernel/agent.ts";
import { ModelKernel } from "../../../support/model-kernel/kernel.ts";
import type { Typed } from "../../../support/model-kernel/script.ts";
import { dataplanes } from "../../../support/model-kernel/themes.ts";
import { hosts, interfaces, ip } from "../../../support/model-kernel/universe.ts";
import { Disk, ModelClock, Wire } from "../../../support/model-kernel/world.ts";
import { decide } from "../../../support/model-kernel/writer.ts";
import { sets } from "./sets.ts";

/** A life of an agent on the kernel, with an empty disk and four passes. */
async function live(kernel: ModelKernel, objects?: readonly Typed[]) {
  const disk = new Disk();
  const clock = new ModelClock();
  let last: PassResult | undefined;
  const agent = new ModelAgent({
    kernel,
    disk,
    clock,
    wire: new Wire(),
    epoch: "epoch-1",
    isAdopting: objects === undefined,
    onPass: (result) => {
      last = result;
    },
  });
  if (objects !== undefined) {
    const refusal = agent.write((state, context) => decide({ do: "set", objects }, state, context, () => 1));
    if (refusal !== undefined) throw refusal;
  }
  for (let pass = 0; pass < 4; pass++) {
    await agent.pass(true);
    clock.pass(1_000);
  }
  // What has no rule of its own left no trace.
  const idle = last?.planAfter.compiled.idle;
  const ready = agent.readyObjects().filter((id) => idle?.has(id) !== true);
  agent.kill();
  return { isSet: disk.state.isSet, ready: new Set(ready), program: last && inOrder(last.planAfter.program) };
}

/** What does not depend on the order of creation. The subnet of an EIP that is not held is nowhere in the kernel. */
function inOrder({ eips, unboundEips = [], fips, dnats, ...rest }: Program) {
  const sorted = <T extends { readonly id: string }>(list: readonly T[]) =>
    list.toSorted((one, other) => (one.id < other.id ? -1 : 1));
  return {
    ...rest,
    eips: sorted(eips),
    unboundEips: sorted(unboundEips).map((eip) => ({ ...eip, prefixLength: 0 })),
    fips: sorted(fips),
    dnats: sorted(dnats),
    routes: sorted(rest.routes),
  };
}

/** The names of the model's Eips are their addresses. */
function isUsed({ fips, dnats, pools }: Pick<Program, "fips" | "dnats" | "pools">, name: string): boolean {
  const members = pools.flatMap((pool) => pool.members);
  return [...fips, ...dnats, ...members].some(({ eip }) => eip === name);
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const property = fc.asyncProperty(sets, fc.boolean(), async (objects, hasOwnAddress) => {
      const makeKernel = () => {
        const kernel = new ModelKernel(dataplane);
        const own = { interface: interfaces.external, address: ip(hosts.external), prefixLength: 24 };
        if (!hasOwnAddress) kernel.network.removeAddress(own);
        return kernel;
      };
      // Without an address on net1 its next hops are in no connected subnet.
      const isReached = ({ spec }: Typed) => hasOwnAddress || !("interface" in spec);
      // As rules a list of one looks like an internal IP, and there is no session affinity.
      const isTraced = ({ spec }: Typed) =>
        dataplane !== "legacy without nft" ||
        !("backends" in spec && Array.isArray(spec.backends)) ||
        (spec.backends.length !== 1 && spec.sessionAffinity === undefined);
      const given = objects.filter(isReached).filter(isTraced);
      const { program } = await live(makeKernel(), given);
      // An EIP that is not held leaves no trace unless a rule uses it.
      const isLeft = ({ kind, spec: { name } }: Typed) =>
        kind !== "eip" ||
        !program?.unboundEips.some(({ id }) => id === `eips/${name}`) ||
        isUsed(program, name);
      const kernel = makeKernel();
      const before = await live(kernel, given.filter(isLeft));
      const writes: string[] = [];
      kernel.onWrite = (what) => writes.push(what);
      deepStrictEqual(await live(kernel), before);
      deepStrictEqual(writes, []);
    });
    await t.resolves(fc.assert(property, { numRuns: 60 }));
  });
}
