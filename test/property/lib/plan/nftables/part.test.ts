/** Planning a part of a program gives the same result as planning the whole, and does not touch other parts. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import { objectId } from "../../../../../lib/model/names.ts";
import type { Program, ProgramDnat, ProgramFip } from "../../../../../lib/model/program.ts";
import type { TableTransaction } from "../../../../../lib/nftables/encode-transaction.ts";
import { type Elements, mapNames } from "../../../../../lib/nftables/maps.ts";
import { wantedTable } from "../../../../../lib/plan/nftables/layout.ts";
import { planPart } from "../../../../../lib/plan/nftables/part.ts";
import { allElements } from "../../../../../lib/plan/nftables/table.ts";
import { emptyProgram, iface, ip } from "../iptables/programs.ts";

type Use =
  | { readonly pod: number }
  | {
      readonly ports: readonly { readonly port: number; readonly pods: number; readonly isSticky: boolean }[];
    };

const use: fc.Arbitrary<Use> = fc.oneof(
  fc.record({ pod: fc.integer({ min: 1, max: 3 }) }),
  fc.record({
    ports: fc.uniqueArray(
      fc.record({
        port: fc.integer({ min: 80, max: 83 }),
        pods: fc.integer({ min: 1, max: 3 }),
        // Rarely, or few parts have the same definition.
        isSticky: fc.nat(9).map((dice) => dice === 0),
      }),
      { maxLength: 3, selector: ({ port }) => port },
    ),
  }),
);
const uses = fc.array(use, { maxLength: 4 });

/**
 * The n-th use decides what the EIP `network.n` serves. Pods are in the same network, so that parts share nothing.
 */
function programOf(uses: readonly Use[], network: number): Pick<Program, "eips" | "fips" | "dnats"> {
  const eips = uses.map((_, n) => ({
    id: objectId("eip", `e-${network}-${n}`),
    address: ip(`203.0.${network}.${n + 1}`),
    prefixLength: 16,
    interface: iface("net1"),
  }));
  const fips: ProgramFip[] = [];
  const dnats: ProgramDnat[] = [];
  uses.forEach((use, n) => {
    const eip = ip(`203.0.${network}.${n + 1}`);
    if ("pod" in use) {
      const internalIp = ip(`10.0.${network}.${use.pod}`);
      const isOutward = !fips.some((fip) => fip.internalIp === internalIp);
      fips.push({ id: objectId("fip", `f-${network}-${n}`), eip, internalIp, isOutward });
      return;
    }
    for (const { port, pods, isSticky } of use.ports) {
      const [first, ...others] = Array.from({ length: pods }, (_, pod) => ({
        ip: ip(`10.0.${network}.${pod + 1}`),
        port,
      }));
      if (first === undefined) continue;
      const id = objectId("dnat", `d-${network}-${n}-${port}`);
      const list = isSticky ? { isList: true, isSticky } : {};
      dnats.push({ id, eip, protocol: "tcp", externalPort: port, backends: [first, ...others], ...list });
    }
  });
  return { eips, fips, dnats };
}

function together(...parts: readonly Pick<Program, "eips" | "fips" | "dnats">[]): Program {
  return {
    ...emptyProgram,
    eips: parts.flatMap(({ eips }) => eips),
    fips: parts.flatMap(({ fips }) => fips),
    dnats: parts.flatMap(({ dnats }) => dnats),
  };
}

/** Applies a transaction like the kernel: removals first, and no key twice. */
function commit(elements: Elements, { remove, add }: TableTransaction): void {
  for (const map of mapNames) {
    const held = elements[map] as Map<string, string>;
    for (const key of remove[map]) if (!held.delete(key)) throw new Error(`ENOENT: ${map} ${key}`);
    for (const [key, value] of add[map]) {
      if (held.has(key)) throw new Error(`EEXIST: ${map} ${key}`);
      held.set(key, value);
    }
  }
}

const sorted = (elements: Elements) => mapNames.map((map) => [map, [...elements[map]].sort()]);

t.test("a part changes as in the whole program, and other parts stay", async (t) => {
  let moves = 0;
  fc.assert(
    fc.property(uses, uses, uses, (others, before, after) => {
      const rest = programOf(others, 2);
      const [from, to] = [programOf(before, 1), programOf(after, 1)];
      const elements = allElements(wantedTable(together(rest, from)));
      const [wantedFrom, wantedTo] = [wantedTable(together(from)), wantedTable(together(to))];
      const plan = planPart(wantedFrom, wantedTo, elements);
      const isSameDefinition = isDeepStrictEqual(wantedFrom.definition, wantedTo.definition);
      t.equal(plan !== undefined, isSameDefinition);
      if (plan === undefined) return t.passing();
      const { transaction, changes } = plan;
      t.equal(transaction === undefined, changes.length === 0);
      if (transaction !== undefined) commit(elements, transaction);
      moves += changes.length;
      t.strictSame(sorted(elements), sorted(allElements(wantedTable(together(rest, to)))));
      t.strictSame(planPart(wantedFrom, wantedTo, elements)?.changes, [], "there is nothing left to do");
      return t.passing();
    }),
    { numRuns: 1000 },
  );
  t.ok(moves > 500, `${moves} changes`);
});
