import fc from "fast-check";
import t from "tap";
import { parseRule } from "../../../../../lib/iptables/parse-rule.ts";
import { removalsOf } from "../../../../../lib/iptables/removals.ts";
import type { TableName } from "../../../../../lib/iptables/rule.ts";
import { prefixLengthOf } from "../../../../../lib/model/ip.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import { objectId } from "../../../../../lib/model/names.ts";
import type { PoolMember, Program, SnatPool } from "../../../../../lib/model/program.ts";
import type { GateState } from "../../../../../lib/plan/gate-state.ts";
import { wantedGuard } from "../../../../../lib/plan/guard.ts";
import { type EditLimits, editsByHandle, editsByTool } from "../../../../../lib/plan/iptables/chain.ts";
import { wantedFilter } from "../../../../../lib/plan/iptables/filter.ts";
import { type WantedTable, wantedMangle, wantedNat } from "../../../../../lib/plan/iptables/layout.ts";
import { missingRules } from "../../../../../lib/plan/iptables/missing.ts";
import { planTable } from "../../../../../lib/plan/iptables/table.ts";
import { FakeTable } from "./packet-model.ts";
import { cidr, emptyProgram, iface, ip, program } from "./programs.ts";

/** Applies the plan to the table, and checks that a second plan is empty. */
function converge(table: FakeTable, wanted: WantedTable, limits?: EditLimits): void {
  const { input, changes } = planTable(wanted, table.read(), limits);
  if ((input === undefined) !== (changes.length === 0))
    throw new Error(`changes and lines disagree: ${input}`);
  if (input !== undefined) restore(table, input);
  const again = planTable(wanted, table.read(), limits);
  if (again.input !== undefined || again.changes.length > 0)
    throw new Error(`first ${input} then ${again.input} for ${table.save()}`);
}

/** Also checks that the rules deleted by position are those that the lines name. */
function restore(table: FakeTable, input: string): void {
  const dump = new Map([[table.table, table.read()]]);
  const removals = removalsOf({ table: table.table, input }, dump);
  const isRemoval = !/^[^*D-]|^-[^D]/m.test(input.replace("COMMIT\n", ""));
  if ((removals !== undefined) !== isRemoval) throw new Error(`${isRemoval ? "no" : "a"} removal: ${input}`);
  const left = new Map(
    removals?.map(({ chain, positions, length }) => {
      const rules = table.rules(chain);
      if (rules.length !== length) throw new Error(`${chain} has ${rules.length} rules, not ${length}`);
      return [chain, rules.filter((_, position) => !positions.has(position))];
    }),
  );
  table.restore(input);
  for (const [chain, rules] of left)
    if (rules.join() !== table.rules(chain).join()) throw new Error(`${input} leaves ${table.save()}`);
}

function missing(wanted: Program, nat: FakeTable, mangle: FakeTable) {
  const dump = new Map([
    ["nat", nat.read()],
    ["mangle", mangle.read()],
  ] as const);
  return missingRules(wantedNat(wanted), wantedMangle(wanted), dump, ipv4);
}

/** The rules that decide about packets, as a set. Their order is compared separately. */
function contents(table: FakeTable, chain: string): readonly string[] {
  return [...table.rules(chain)].sort();
}

const foreign = fc.constantFrom(
  "-j RETURN",
  "-s 10.0.0.3/32 -j RETURN",
  "-d 203.0.113.4/32 -j DNAT --to-destination 10.0.0.99",
  '-m comment --comment "not ours" -j RETURN',
  "-d 203.0.113.4/32 -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.0.0.1:1",
  "-s 10.0.0.0/24 -o net1 -j MASQUERADE",
);
const natChains = [
  "DNAT_FILTER",
  "SNAT_FILTER",
  "EXCLUSIVE_DNAT",
  "EXCLUSIVE_SNAT",
  "SHARED_DNAT",
  "SHARED_SNAT",
  "HAIRPIN_SNAT",
] as const;

/** Changes of a table by other programs: add, delete, repeat, swap and flush, in our chains and in built-in ones. */
const meddling = fc.array(
  fc.record({
    chain: fc.constantFrom(...natChains, "PREROUTING", "POSTROUTING"),
    verb: fc.constantFrom("add", "delete", "repeat", "swap", "flush"),
    rule: foreign,
    at: fc.nat({ max: 30 }),
  }),
  { maxLength: 6 },
);

function meddle(table: FakeTable, acts: typeof meddling extends fc.Arbitrary<infer T> ? T : never): void {
  for (const { chain, verb, rule, at } of acts) {
    const rules = table.rules(chain);
    const some = rules[at % Math.max(rules.length, 1)];
    const position = (at % (rules.length + 1)) + 1;
    const lines: string[] = [];
    if (verb === "add") lines.push(`-I ${chain} ${position} ${rule}`);
    else if (verb === "flush") lines.push(...rules.map((one) => `-D ${chain} ${one}`));
    else if (some === undefined) continue;
    else if (verb === "delete") lines.push(`-D ${chain} ${some}`);
    else if (verb === "repeat") lines.push(`-I ${chain} ${position} ${some}`);
    else lines.push(`-D ${chain} ${some}`, `-A ${chain} ${some}`);
    if (lines.length > 0) table.restore(`*${table.table}\n${lines.join("\n")}\nCOMMIT\n`);
  }
}

/** Usually unlike the first one; sometimes equal, so that drift alone is repaired too. */
const orSame = fc.option(program, { freq: 1 });

const editLimits = fc.constantFrom<EditLimits>(
  editsByTool,
  editsByHandle,
  { lines: 0, deletes: 2 },
  { lines: 2, deletes: 10 },
);

t.test("whatever was there before, one transaction makes it right and the next plan is empty", async () => {
  fc.assert(
    fc.property(program, orSame, meddling, editLimits, (first, other, acts, limits) => {
      const second = other ?? first;
      const nat = new FakeTable("nat");
      const mangle = new FakeTable("mangle");
      converge(mangle, wantedMangle(second));
      converge(nat, wantedNat(first));
      meddle(nat, acts);
      converge(nat, wantedNat(second), limits);

      for (const chain of wantedNat(second).chains) {
        const wanted = chain.rules.map(({ rule }) => rule.text).sort();
        const held = contents(nat, chain.name);
        if (wanted.join() !== held.join()) throw new Error(`${chain.name}: ${wanted} is not ${held}`);
      }
      const lacking = missing(second, nat, mangle);
      if (lacking.size > 0) throw new Error(`missing ${[...lacking]}`);
    }),
    { numRuns: 400 },
  );
});

t.test("rules of others elsewhere stay, in their order", async () => {
  fc.assert(
    fc.property(program, program, meddling, (first, second, acts) => {
      const nat = new FakeTable("nat");
      converge(nat, wantedNat(first));
      meddle(nat, acts);
      const own = new Set(["-j DNAT_FILTER", "-j SNAT_FILTER"]);
      const others = (chain: string) =>
        nat
          .rules(chain)
          .filter((rule) => !own.has(rule))
          .join("\n");
      const before = [others("PREROUTING"), others("POSTROUTING")].join("\n--\n");
      converge(nat, wantedNat(second));
      return before === [others("PREROUTING"), others("POSTROUTING")].join("\n--\n");
    }),
    { numRuns: 200 },
  );
});

/** Nested and separate networks. Each has members of its own, so a rule that stays is the same rule. */
const networks = [
  "10.0.0.1/32",
  "10.0.0.2/32",
  "10.0.0.0/31",
  "10.0.0.0/28",
  "10.0.0.128/25",
  "10.0.0.0/24",
  "10.0.1.0/24",
  "10.0.0.0/16",
  "10.1.0.0/16",
  "10.0.0.0/8",
  "0.0.0.0/0",
].map((text, index): SnatPool => {
  const member = (n: number): PoolMember => ({
    id: objectId("snat", `s${n}`),
    eip: ip(`203.0.113.${n}`),
    mapping: "random",
  });
  const rest = index % 3 === 2 ? [member(100 + index)] : [];
  return { cidr: cidr(text), interface: iface("net1"), members: [member(index), ...rest] };
});

t.test("a longer prefix always stands before a shorter one, nested or not", async () => {
  const some = fc.subarray(networks);
  fc.assert(
    fc.property(fc.array(some, { minLength: 2, maxLength: 4 }), (steps) => {
      const nat = new FakeTable("nat");
      for (const pools of steps) {
        converge(nat, wantedNat({ ...emptyProgram, pools }));
        for (const [wide, narrow] of pairsByLength(pools)) {
          const at = (pool: SnatPool, choose: typeof Math.max) =>
            choose(...poolTexts(pool).map((text) => nat.rules("SHARED_SNAT").indexOf(text)));
          if (at(narrow, Math.max) > at(wide, Math.min))
            throw new Error(`${wide.cidr} before ${narrow.cidr}`);
        }
      }
    }),
    { numRuns: 300 },
  );
});

function poolTexts(pool: SnatPool): readonly string[] {
  const chains = wantedNat({ ...emptyProgram, pools: [pool] }).chains;
  return chains.find(({ name }) => name === "SHARED_SNAT")?.rules.map(({ rule }) => rule.text) ?? [];
}

function pairsByLength(pools: readonly SnatPool[]): readonly (readonly [wide: SnatPool, narrow: SnatPool])[] {
  const isWider = (wide: SnatPool, narrow: SnatPool) =>
    prefixLengthOf(wide.cidr) < prefixLengthOf(narrow.cidr);
  return pools.flatMap((wide) =>
    pools.filter((narrow) => isWider(wide, narrow)).map((narrow) => [wide, narrow] as const),
  );
}

t.test("an object whose rule was taken away or shadowed is missing, others are not", async () => {
  fc.assert(
    fc.property(program, fc.constantFrom(...natChains.slice(2)), fc.nat(), (wanted, chain, at) => {
      const nat = new FakeTable("nat");
      const mangle = new FakeTable("mangle");
      converge(nat, wantedNat(wanted));
      converge(mangle, wantedMangle(wanted));
      const rules = nat.rules(chain);
      const gone = rules[at % Math.max(rules.length, 1)];
      fc.pre(gone !== undefined);
      nat.restore(`*nat\n-D ${chain} ${gone}\nCOMMIT\n`);
      const object = wantedNat(wanted)
        .chains.find(({ name }) => name === chain)
        ?.rules.find(({ rule }) => rule.text === gone)?.object;
      const lacking = missing(wanted, nat, mangle);
      return lacking.size === 1 && object !== undefined && lacking.has(object);
    }),
    { numRuns: 200 },
  );
});

t.test("the filter table's gates and guard: from any state to any other, first in their hooks", async () => {
  const hooks = ["FORWARD", "INPUT", "OUTPUT"];
  const hookOf = new Map([
    ["NATGW_GATE", "FORWARD"],
    ["NATGW_GUARD", "FORWARD"],
    ["NATGW_BFD_IN", "INPUT"],
    ["NATGW_BFD_OUT", "OUTPUT"],
  ]);
  const state = fc.constantFrom<GateState>("open", "closed");
  const gates = fc.record({ gate: state, bfd: state });
  const acts = fc.array(
    fc.record({
      chain: fc.constantFrom(...hooks, "NATGW_GATE", "NATGW_GUARD", "NATGW_BFD_IN", "NATGW_BFD_OUT"),
      rule: fc.constantFrom(
        ...["-j ACCEPT", "-j NATGW_GATE", "-j NATGW_GUARD", "-j NATGW_BFD_IN", "-j NATGW_BFD_OUT"],
        "-i eth0 -j DROP",
      ),
      at: fc.nat({ max: 9 }),
    }),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(program, gates, acts, gates, (wanted, was, others, is) => {
      const filter = new FakeTable("filter" satisfies TableName);
      converge(filter, wantedFilter(wanted, wantedGuard(wanted), was));
      for (const { chain, rule, at } of others) {
        const target = rule.slice("-j ".length);
        if (
          !filter.has(chain) ||
          (target.startsWith("NATGW") && (!filter.has(target) || hookOf.get(target) !== chain))
        )
          continue;
        const position = (at % (filter.rules(chain).length + 1)) + 1;
        filter.restore(`*filter\n-I ${chain} ${position} ${rule}\nCOMMIT\n`);
      }
      const accepts = new Map(
        hooks.map((hook) => [hook, filter.rules(hook).filter((rule) => !rule.includes("NATGW"))]),
      );
      converge(filter, wantedFilter(wanted, wantedGuard(wanted), is));
      const isGateClosed = is.gate === "closed";
      const isBfdClosed = is.bfd === "closed";
      const first: Record<string, readonly string[]> = {
        FORWARD: [...(isGateClosed ? ["-j NATGW_GATE"] : []), "-j NATGW_GUARD"],
        INPUT: [...(isBfdClosed ? ["-j NATGW_BFD_IN"] : []), "-j NATGW_INPUT"],
        OUTPUT: isBfdClosed ? ["-j NATGW_BFD_OUT"] : [],
      };
      return (
        hooks.every(
          (hook) =>
            filter.rules(hook).join() === [...(first[hook] ?? []), ...(accepts.get(hook) ?? [])].join(),
        ) &&
        filter.has("NATGW_GATE") === isGateClosed &&
        ["NATGW_BFD_IN", "NATGW_BFD_OUT"].every((chain) => filter.has(chain) === isBfdClosed)
      );
    }),
    { numRuns: 200 },
  );
});

t.test(
  "a rule's canonical text reads back as itself, and rereading beside an older state changes nothing",
  async () => {
    fc.assert(
      fc.property(program, program, meddling, (first, second, acts) => {
        const nat = new FakeTable("nat");
        converge(nat, wantedNat(first));
        const before = nat.read();
        for (const { rule } of wantedNat(first).chains.flatMap(({ rules }) => rules)) {
          const read = parseRule(rule.text, ipv4);
          if (read.text !== rule.text || read.spec === undefined) throw new Error(rule.text);
          if (JSON.stringify(read.spec) !== JSON.stringify({ ...read.spec, ...rule.spec }))
            throw new Error(rule.text);
        }
        converge(nat, wantedNat(second));
        meddle(nat, acts);
        return JSON.stringify([...nat.read(before)]) === JSON.stringify([...nat.read()]);
      }),
      { numRuns: 100 },
    );
  },
);
