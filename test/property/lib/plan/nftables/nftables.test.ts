/** The nftables planner on a table in memory that refuses what the kernel refuses. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import type { Ip } from "../../../../../lib/model/ip.ts";
import { ipv4, makeCidr, rangeOf, toU32 } from "../../../../../lib/model/ipv4.ts";
import { type InterfaceName, objectId } from "../../../../../lib/model/names.ts";
import { bucketsOf, type PoolMember, type Program, type SnatPool } from "../../../../../lib/model/program.ts";
import { forEachElement } from "../../../../../lib/nftables/decode-elements.ts";
import type { Definition } from "../../../../../lib/nftables/definition.ts";
import { DefinitionReader, definitionLines } from "../../../../../lib/nftables/definition-lines.ts";
import { encodeAdd } from "../../../../../lib/nftables/encode-elements.ts";
import { encodeTransaction, type TableTransaction } from "../../../../../lib/nftables/encode-transaction.ts";
import {
  byMap,
  type ElementMap,
  elementMaps,
  type MapName,
  mapNames,
} from "../../../../../lib/nftables/maps.ts";
import { messageType } from "../../../../../lib/nftables/wire.ts";
import { compareTable, type ObservedTable } from "../../../../../lib/plan/nftables/compare.ts";
import { wantedTable } from "../../../../../lib/plan/nftables/layout.ts";
import { missingElements } from "../../../../../lib/plan/nftables/missing.ts";
import { eipsNamed } from "../../../../../lib/plan/nftables/owned.ts";
import { allElements, planTable } from "../../../../../lib/plan/nftables/table.ts";
import { emptyProgram, iface, ip, listProgram as program } from "../iptables/programs.ts";

type Range = readonly [first: number, last: number];

/** A table `ip natgw` that takes a transaction whole or not at all, and looks elements up as rules do. */
class FakeTable {
  definition: Definition | undefined;
  elements = byMap(() => new Map<string, string>());
  /** Foreign lines in the definition. */
  foreign: readonly string[] = [];

  read(): ObservedTable {
    const lines = this.definition && [...definitionLines(this.definition), ...this.foreign];
    return { definition: lines, elements: byMap((map) => new Map(this.elements[map])) };
  }

  commit({ definition, remove, add }: TableTransaction): void {
    const { elements } = this;
    if (definition !== undefined) {
      if (definition.isReplaced !== (this.definition !== undefined))
        throw new Error("a table taken for another");
      this.definition = definition.make;
      this.foreign = [];
      for (const map of mapNames) elements[map].clear();
    }
    if (this.definition === undefined) throw new Error("ENOENT: no table");
    for (const map of mapNames) {
      for (const key of remove[map]) if (!elements[map].delete(key)) throw new Error(`ENOENT: ${map} ${key}`);
    }
    for (const map of mapNames) {
      for (const [key, value] of add[map]) {
        if (elements[map].has(key)) throw new Error(`EEXIST: ${map} ${key}`);
        elements[map].set(key, value);
      }
      if (elementMaps[map].isInterval) refuseOverlaps(map, [...elements[map].keys()]);
    }
  }

  /** The element that a rule's lookup finds. */
  find(map: MapName, ...parts: readonly number[]): string | undefined {
    for (const [key, value] of this.elements[map]) {
      const ranges = rangesOf(map, key);
      if (ranges.every(([first, last], at) => first <= (parts[at] ?? -1) && (parts[at] ?? -1) <= last))
        return value;
    }
    return undefined;
  }

  /** The EIP and the mapping that a new flow of `client` gets when it leaves by `out`. */
  leave(client: number, out: InterfaceName): string | undefined {
    for (const [number, lookup] of this.definition?.lookups.entries() ?? []) {
      if (lookup.interface !== out) continue;
      const bucket = ((client & (lookup.buckets - 1)) ^ (number << 16)) >>> 0;
      const random = this.find("snat_r", client, bucket);
      if (random !== undefined) return `${random} random`;
      const preserve = this.find("snat_p", client, bucket);
      if (preserve !== undefined) return `${preserve} preserve`;
    }
    return undefined;
  }
}

const parsed = new Map<string, readonly Range[]>();

function rangesOf(map: MapName, key: string): readonly Range[] {
  const known = parsed.get(`${map} ${key}`) ?? parseRanges(elementMaps[map], key);
  parsed.set(`${map} ${key}`, known);
  return known;
}

function parseRanges(spec: ElementMap, key: string): readonly Range[] {
  return key.split(" . ").map((part, at): Range => {
    const [first = "", last = first] = part.split("-");
    const parse = spec.key[at]?.parse ?? Number;
    return [parse(first), parse(last)];
  });
}

function refuseOverlaps(map: MapName, keys: readonly string[]): void {
  const ranges = keys.map((key) => rangesOf(map, key));
  ranges.forEach((one, at) => {
    for (const other of ranges.slice(at + 1))
      if (
        one.every(
          ([first, last], part) => first <= (other[part]?.[1] ?? -1) && (other[part]?.[0] ?? 0) <= last,
        )
      )
        throw new Error(`EEXIST: ${map} ${keys[at]} overlaps another`);
  });
}

function converge(table: FakeTable, wanted: Program): void {
  const target = wantedTable(wanted);
  const plan = planOf(table, wanted);
  if ((plan.transaction === undefined) !== (plan.changes.length === 0))
    throw new Error("changes and steps disagree");
  if (plan.transaction !== undefined) {
    encodeTransaction(plan.transaction);
    table.commit(plan.transaction);
  }
  const again = planOf(table, wanted);
  if (again.transaction !== undefined || again.changes.length > 0)
    throw new Error(`planned again: ${JSON.stringify(again.changes)}`);
  const lacking = missingElements(target, compareTable(target, table.read()));
  if (lacking.size > 0) throw new Error(`missing: ${JSON.stringify([...lacking])}`);
}

function planOf(table: FakeTable, wanted: Program) {
  const [target, observed] = [wantedTable(wanted), table.read()];
  return planTable(target, observed, compareTable(target, observed));
}

/** Pools in one network of 64 addresses. Some have more members than a lookup with 16 buckets can distinguish. */
const crowdedPools = fc
  .uniqueArray(
    fc.record({
      host: fc.nat({ max: 63 }),
      length: fc.integer({ min: 25, max: 32 }),
      out: fc.constantFrom(iface("net1"), iface("net2")),
      count: fc.constantFrom(1, 1, 2, 3, 16, 17, 40),
      firstEip: fc.nat({ max: 200 }),
      preserve: fc.nat({ max: 3 }),
    }),
    { selector: ({ host, length, out }) => `${makeCidr(ip(`10.0.0.${host}`), length)} ${out}`, maxLength: 8 },
  )
  .map((list) =>
    list.map(({ host, length, out, count, firstEip, preserve }): SnatPool => {
      const cidr = makeCidr(ip(`10.0.0.${host}`), length);
      const member = (at: number): PoolMember => ({
        id: objectId("snat", `s-${cidr.replace("/", "-")}-${out}-${at}`),
        eip: ip(`203.0.113.${firstEip + at}`),
        mapping: at % 4 < preserve ? "preserve" : "random",
      });
      const size = Math.min(count, 2 ** (32 - length));
      return {
        cidr,
        interface: out,
        members: [member(0), ...Array.from({ length: size - 1 }, (_, at) => member(at + 1))],
      };
    }),
  );

/** The EIP of each address according to the pools. */
function leaveByLongestPrefix(
  pools: readonly SnatPool[],
  client: number,
  out: InterfaceName,
): string | undefined {
  const holding = pools
    .filter((pool) => pool.interface === out)
    .filter((pool) => rangeOf(pool.cidr)[0] <= client && client <= rangeOf(pool.cidr)[1]);
  const [longest] = holding.sort((a, b) => Number(b.cidr.split("/")[1]) - Number(a.cidr.split("/")[1]));
  if (longest === undefined) return undefined;
  const members = bucketsOf(longest, ipv4);
  const member = members[client % members.length];
  return member && `${member.eip} ${member.mapping}`;
}

t.test("whatever was there before, one transaction makes it right and the next plan is empty", async () => {
  const strangers = fc.array(
    fc.record({
      map: fc.constantFrom(...mapNames),
      verb: fc.constantFrom("add", "change", "remove", "flush"),
      at: fc.nat(),
    }),
    { maxLength: 6 },
  );
  const drift = fc.constantFrom("none", "no table", "a foreign rule", "another definition");
  fc.assert(
    fc.property(program, program, strangers, drift, (first, second, acts, definitionDrift) => {
      const table = new FakeTable();
      converge(table, first);
      for (const { map, verb, at } of acts) {
        const { [map]: elements } = table.elements;
        const key = [...elements.keys()][at % Math.max(elements.size, 1)];
        if (verb === "flush") elements.clear();
        else if (verb === "add" && !elementMaps[map].isInterval)
          elements.set(foreignKey(map), foreignValue(map));
        else if (verb === "change" && key !== undefined) elements.set(key, foreignValue(map));
        else if (key !== undefined) elements.delete(key);
      }
      if (definitionDrift === "no table") {
        table.definition = undefined;
        table.elements = byMap(() => new Map());
      }
      if (definitionDrift === "a foreign rule") table.foreign = ["rule 2=0 4=accept()"];
      if (definitionDrift === "another definition" && table.definition)
        table.definition = { ...table.definition, vpcInterface: iface("eth9") };
      converge(table, second);
      const wanted = allElements(wantedTable(second));
      for (const map of mapNames)
        if (table.elements[map].size !== wanted[map].size) throw new Error(`${map} holds more`);
    }),
    { numRuns: 120 },
  );
});

t.test(
  "every client uses the EIP of the longest prefix and its bucket, whatever the pools were before",
  async () => {
    fc.assert(
      fc.property(crowdedPools, crowdedPools, (first, second) => {
        const table = new FakeTable();
        for (const pools of [first, second]) converge(table, { ...emptyProgram, pools });
        for (const out of [iface("net1"), iface("net2")])
          for (let host = 0; host < 130; host += 3) {
            const client = 0x0a000000 + host;
            const [is, ought] = [table.leave(client, out), leaveByLongestPrefix(second, client, out)];
            if (is !== ought) throw new Error(`10.0.0.${host} by ${out}: ${is} and not ${ought}`);
          }
      }),
      { numRuns: 60 },
    );
  },
);

t.test("no two elements of one interface hold one client, across both maps", async () => {
  fc.assert(
    fc.property(crowdedPools, (pools) => {
      const elements = allElements(wantedTable({ ...emptyProgram, pools }));
      refuseOverlaps("snat_r", [...elements.snat_r.keys(), ...elements.snat_p.keys()]);
    }),
    { numRuns: 100 },
  );
});

t.test("every number that may be drawn for a service leads to one backend", async () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 256 }), fc.boolean(), (count, isSticky) => {
      const backends = Array.from({ length: count }, (_, at) => ({
        ip: ip(`10.0.0.${at % 250}`),
        port: at + 1,
      }));
      const [head, ...rest] = backends;
      if (head === undefined) return false;
      const id = objectId("dnat", "d");
      const dnat = {
        id,
        eip: ip("203.0.113.1"),
        protocol: "tcp",
        externalPort: 80,
        backends: [head, ...rest],
        isSticky,
      } as const;
      const wanted = wantedTable({ ...emptyProgram, dnats: [dnat] });
      const { dnat_n: elements } = allElements(wanted);
      const drawn = backends.map(
        (_, at) =>
          `203.0.113.1 . tcp . 80 . 0x${(count * 65_536 + at + (isSticky ? 2 ** 31 : 0)).toString(16).padStart(8, "0")}`,
      );
      return (
        isDeepStrictEqual(wanted.definition.backendCounts, isSticky ? [] : [count]) &&
        isDeepStrictEqual(wanted.definition.stickyCounts, isSticky ? [count] : []) &&
        isDeepStrictEqual([...elements.keys()], drawn) &&
        isDeepStrictEqual(
          [...elements.values()],
          backends.map((one) => `${one.ip} . ${one.port}`),
        )
      );
    }),
    { numRuns: 60 },
  );
});

t.test("decoding reverses encoding", async () => {
  fc.assert(
    fc.property(program, crowdedPools, (wanted, pools) => {
      for (const one of [wanted, { ...wanted, pools }]) {
        const wantedOne = wantedTable(one);
        const { definition } = wantedOne;
        const transaction: TableTransaction = {
          definition: { make: definition, isReplaced: false },
          remove: byMap(() => []),
          add: allElements(wantedOne),
        };
        const reader = new DefinitionReader("natgw");
        const read = byMap(() => new Map<string, string>());
        for (const message of encodeTransaction(transaction)) {
          const { type, payload } = message;
          const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
          if (type !== messageType.newElements) reader.read(type, view, 0, payload.length);
          else if ("map" in message) {
            const map = message.map as MapName;
            forEachElement(map, view, 0, payload.length, (key, value) => read[map].set(key, value));
          }
        }
        for (const map of mapNames)
          if (JSON.stringify([...read[map]]) !== JSON.stringify([...transaction.add[map]]))
            throw new Error(map);
        if (reader.lines?.join() !== definitionLines(definition).join()) throw new Error("definition");
      }
    }),
    { numRuns: 100 },
  );
});

t.test("an object that lacks an element is missing, and no other", async () => {
  fc.assert(
    fc.property(
      program,
      fc.constantFrom(...mapNames),
      fc.nat(),
      fc.boolean(),
      (wanted, map, at, isChanged) => {
        const table = new FakeTable();
        converge(table, wanted);
        const target = wantedTable(wanted);
        const wants: [string, string][] = [];
        target.visit((name, key, _value, object) => name === map && wants.push([key, object]));
        const [key, object] = wants[at % Math.max(wants.length, 1)] ?? [];
        fc.pre(key !== undefined);
        if (isChanged) table.elements[map].set(key, foreignValue(map));
        else table.elements[map].delete(key);
        const lacking = missingElements(target, compareTable(target, table.read()));
        return lacking.size === 1 && [...lacking.keys()][0] === object;
      },
    ),
    { numRuns: 100 },
  );
});

t.test("the EIPs that the table names are those of the program's objects", async () => {
  fc.assert(
    fc.property(program, (wanted) => {
      const table = new FakeTable();
      converge(table, wanted);
      const named = eipsNamed(table.read(), ipv4);
      const ought = new Set<Ip>([
        ...wanted.eips.map(({ address }) => address),
        ...wanted.fips.map(({ eip }) => eip),
        ...wanted.dnats.map(({ eip }) => eip),
      ]);
      const mayBe = new Set([
        ...ought,
        ...wanted.pools.flatMap(({ members }) => members.map(({ eip }) => eip)),
      ]);
      return ought.isSubsetOf(named) && named.isSubsetOf(mayBe);
    }),
    { numRuns: 100 },
  );
});

t.test("in several messages the offset identifies the element", async (t) => {
  const values = new Map(
    Array.from({ length: 9000 }, (_, at) => [`10.1.${at >> 8}.${at & 255}`, "10.0.0.1"]),
  );
  const messages = encodeAdd("fip_in", values);
  t.ok(messages.length > 3);
  t.equal(messages.flatMap(({ keys }) => keys).length, 9000);
  t.ok(messages.every(({ payload }) => payload.length < 65_536));
  t.equal(toU32(ip("10.1.0.0")), 0x0a010000);
});

function foreignKey(map: MapName): string {
  if (map === "dnat_n") return "203.0.113.200 . tcp . 9 . 0x00020001";
  return map === "dnat_1" ? "203.0.113.200 . tcp . 9" : "198.51.100.7";
}

function foreignValue(map: MapName): string {
  return map.startsWith("dnat") ? "10.9.9.9 . 99" : "198.51.100.8";
}
