/** The agent's table of nftables, for one packet. Rules that are missing from its chains translate nothing. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { Program } from "../model/program.ts";
import { drawText } from "../nftables/backends.ts";
import { bucketBase, type Definition, drawOf, encodeDefinition } from "../nftables/definition.ts";
import { lineOfMessage } from "../nftables/definition-lines.ts";
import { tableLabel } from "../nftables/family.ts";
import { field } from "../nftables/fields.ts";
import { concatText, elementText, type MapName, tableName } from "../nftables/maps.ts";
import { dstnat, srcnat } from "../plan/netfilter/journeys.ts";
import { wantedTableChunked } from "../plan/nftables/layout.ts";
import type { NftablesObserved } from "../plan/nftables/observed.ts";
import { counted } from "../text/quantities.ts";
import type { Hit, OwnRules } from "./own-rules.ts";
import type { Endpoint, Packet } from "./packet.ts";

/** A rule of the definition that the kernel has. `number`: of backends, or of the lookup. */
interface FixedRule {
  readonly kind: "mark" | "sticky" | MapName;
  readonly number: number;
}

export function* nftablesRules({ table }: NftablesObserved, program: Program): Chunked<OwnRules> {
  const { definition } = yield* wantedTableChunked(program);
  const { present, strange } = presentRules(definition, table.definition ?? []);
  const reader = new Reader(program.family, table.elements, definition, present);
  return {
    // biome-ignore lint/correctness/useYield: nothing jumps there
    *enter() {
      return undefined;
    },
    hooks: [
      { hook: "prerouting", priority: dstnat, translate: (packet) => reader.destination(packet) },
      { hook: "postrouting", priority: srcnat, translate: (packet) => reader.source(packet) },
    ],
    marksVpc: present.some(({ kind }) => kind === "mark"),
    strange,
  };
}

/** The rules of `definition` that are among the lines read. None if their chain has another hook, or the table sleeps. */
function presentRules(definition: Definition, lines: readonly string[]) {
  const found = new Set(lines);
  const rules: string[] = [];
  const chains: string[] = [];
  for (const { type, payload } of encodeDefinition(definition)) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const made = lineOfMessage(type, view, 0, payload.length);
    if (made?.kind === "rule") rules.push(made.line);
    if (made?.kind === "chain") chains.push(made.line);
  }
  const kinds: FixedRule[] = [
    { kind: "mark", number: 0 },
    { kind: "fip_in", number: 0 },
    { kind: "dnat_1", number: 0 },
    ...definition.backendCounts.map((number) => ({ kind: "dnat_n", number }) as const),
    ...definition.stickyCounts.map((number) => ({ kind: "sticky", number }) as const),
    { kind: "fip_out", number: 0 },
    ...definition.lookups.flatMap((_, number) => [
      { kind: "snat_r", number } as const,
      { kind: "snat_p", number } as const,
    ]),
    { kind: "hairpin", number: 0 },
  ];
  const isAwake = !lines.some((line) => /^table 2=\w{7}[13579bdf] /.test(line));
  const areChainsRight = chains.every((chain) => found.has(chain));
  const present = isAwake && areChainsRight ? kinds.filter((_, at) => found.has(rules[at] ?? "")) : [];
  const known = new Set(rules);
  const strangers = lines.filter((line) => line.startsWith("rule ") && !known.has(line)).length;
  const strange =
    strangers === 0
      ? []
      : [`${counted(strangers, "rule")} of nft ${tableLabel(tableName)}, not made by the agent`];
  return { present, strange };
}

/** Takes a few milliseconds. */
const lookedAtOnce = 2_000;

class Reader {
  readonly #family: Family;
  readonly #elements: NftablesObserved["table"]["elements"];
  readonly #definition: Definition;
  readonly #rules: readonly FixedRule[];

  constructor(
    family: Family,
    elements: NftablesObserved["table"]["elements"],
    definition: Definition,
    rules: readonly FixedRule[],
  ) {
    this.#family = family;
    this.#elements = elements;
    this.#definition = definition;
    this.#rules = rules;
  }

  // biome-ignore lint/correctness/useYield: a few lookups
  *destination({ destination, protocol, destinationPort }: Packet): Chunked<Hit | undefined> {
    for (const { kind, number } of this.#rules) {
      if (kind === "fip_in") {
        const hit = this.#single("fip_in", destination, "destination");
        if (hit !== undefined) return hit;
      }
      if (destinationPort === undefined) continue;
      const service = concatText(destination, protocol, destinationPort);
      if (kind === "dnat_1") {
        const hit = this.#single("dnat_1", service, "destination");
        if (hit !== undefined) return hit;
      }
      if (kind === "dnat_n" || kind === "sticky") {
        const hit = this.#drawn(service, number, kind === "sticky");
        if (hit !== undefined) return hit;
      }
    }
    return undefined;
  }

  *source(packet: Packet): Chunked<Hit | undefined> {
    const { source, out, originalDestination } = packet;
    for (const { kind, number } of this.#rules) {
      let hit: Hit | undefined;
      if (kind === "fip_out" && source !== undefined) hit = this.#single("fip_out", source, "source");
      else if ((kind === "snat_r" || kind === "snat_p") && source !== undefined) {
        const lookup = this.#definition.lookups[number];
        if (lookup === undefined || lookup.interface !== out) continue;
        hit = yield* this.#pool(kind, source, bucketBase(number), lookup.buckets);
      } else if (kind === "hairpin") {
        const isHairpin = out === this.#definition.vpcInterface && packet.isMarked && packet.isRedirected;
        if (isHairpin) hit = this.#single("hairpin", originalDestination, "source");
      }
      if (hit !== undefined) return hit;
    }
    return undefined;
  }

  #single(map: MapName, key: string, side: Hit["side"]): Hit | undefined {
    const value = this.#elements[map].get(key);
    const to = value === undefined ? undefined : this.#endpoint(value);
    return to && value !== undefined ? { rule: elementText(map, key, value), side, to: [to] } : undefined;
  }

  #drawn(service: string, count: number, isSticky: boolean): Hit | undefined {
    const to: Endpoint[] = [];
    for (let backend = 0; backend < count; backend++) {
      const key = concatText(service, field.number.format(drawOf(count, backend, isSticky)));
      const endpoint = this.#endpoint(this.#elements.dnat_n.get(key) ?? "");
      if (endpoint !== undefined) to.push(endpoint);
    }
    const [first, ...others] = to;
    if (first === undefined) return undefined;
    const rule = `${tableLabel(tableName)} dnat_n { ${service} . ${drawText(count, isSticky)} }`;
    return { rule, side: "destination", to: [first, ...others], isSticky };
  }

  *#pool(map: "snat_r" | "snat_p", source: Ip, base: number, buckets: number): Chunked<Hit | undefined> {
    const { toValue, modulo, plus, zero } = this.#family;
    const client = toValue(source);
    const bucket = plus(zero, base + modulo(client, buckets));
    const isDue = everyNth(lookedAtOnce);
    for (const [key, value] of this.#elements[map]) {
      if (isDue()) yield;
      const [clients = "", its = ""] = key.split(" . ");
      if (!this.#isWithin(clients, client) || !this.#isWithin(its, bucket)) continue;
      const to = this.#endpoint(value);
      if (to !== undefined) return { rule: elementText(map, key, value), side: "source", to: [to] };
    }
    return undefined;
  }

  #isWithin(range: string, value: ReturnType<Family["toValue"]>): boolean {
    const [first = "", last = first] = range.split("-");
    const [from, to] = [this.#family.parse(first), this.#family.parse(last)];
    if (from === undefined || to === undefined) return false;
    return this.#family.toValue(from) <= value && value <= this.#family.toValue(to);
  }

  /** `10.0.1.7 . 53` or `10.0.1.7`. */
  #endpoint(text: string): Endpoint | undefined {
    const [ip = "", port] = text.split(" . ");
    const address = this.#family.parse(ip);
    return address && { address, port: port === undefined ? undefined : Number(port) };
  }
}
