/**
 * Appends rules of iptables-nft without its tools, of which each run takes a fork, and reads them back. The kernel's form of a rule
 * is learned from the rules of its chain that have the same shape, which the tools made and whose text was read. Where that is not
 * proved, the tools have to append.
 */
import type { ChainAdditions } from "../../../lib/iptables/additions.ts";
import type { Rule } from "../../../lib/iptables/rule.ts";
import { patternOf, type RulePattern } from "../../../lib/iptables/rule-pattern.ts";
import type { RuleDump } from "../../../lib/iptables/save.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { type ChainPlace, dumpRules } from "../../../lib/nftables/rule-handles.ts";
import {
  appendRule,
  isSameContent,
  learnTemplate,
  type RuleContent,
  type RuleExample,
  type RuleTemplate,
  readContent,
} from "../../../lib/nftables/rule-template.ts";
import { messageType } from "../../../lib/nftables/wire.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { transact } from "../nftables/transaction.ts";

/** What was appended to a chain, in the kernel's form too. */
export interface Appended extends ChainAdditions {
  readonly contents: readonly RuleContent[];
}

export interface RuleAppender {
  /**
   * One transaction, only on the ruleset of that generation.
   *
   * @param read the ruleset of that generation
   * @returns `undefined` if nothing was changed. Throws if the result is unknown
   */
  append(
    generation: number,
    additions: readonly ChainAdditions[],
    read: RuleDump,
    signal: AbortSignal,
  ): Promise<readonly Appended[] | undefined>;
  /** @returns `read` with what was appended; `undefined` if the kernel has something else at the ends of these chains */
  readBack(appended: readonly Appended[], read: RuleDump, signal: AbortSignal): Promise<RuleDump | undefined>;
}

/** Rules of a shape that have to agree. */
const maxExamples = 6;

export class ExampleAppender implements RuleAppender {
  readonly #netlink: ConversingConnection;
  readonly #family: Family;
  /** By chain and shape. `undefined`: nothing can be learned. */
  readonly #templates = new Map<string, RuleTemplate | undefined>();

  constructor(netlink: ConversingConnection, family: Family) {
    this.#netlink = netlink;
    this.#family = family;
  }

  async append(
    generation: number,
    additions: readonly ChainAdditions[],
    read: RuleDump,
    signal: AbortSignal,
  ): Promise<readonly Appended[] | undefined> {
    const appended: Appended[] = [];
    const messages: NetlinkMessage[] = [];
    for (const one of additions) {
      const contents: RuleContent[] = [];
      for (const rule of one.rules) {
        const content = await this.#contentOf(one, rule, read.get(one.table)?.get(one.chain) ?? [], signal);
        if (content === undefined) return undefined;
        contents.push(content);
        messages.push(appendRule(one, content));
      }
      appended.push({ ...one, contents });
    }
    return (await transact(this.#netlink, generation, messages)).kind === "done" ? appended : undefined;
  }

  async readBack(
    appended: readonly Appended[],
    read: RuleDump,
    signal: AbortSignal,
  ): Promise<RuleDump | undefined> {
    const rules = new Map(read);
    for (const { table, chain, rules: added, contents } of appended) {
      const before = rules.get(table)?.get(chain);
      if (before === undefined) return undefined;
      const last = new Set(contents.map((_, number) => before.length + number));
      const found = await this.#read({ table, chain }, last, signal);
      const isThere = contents.every((content, number) =>
        isSameContent(found.contents.get(before.length + number), content),
      );
      if (!isThere || found.count !== before.length + contents.length) return undefined;
      rules.set(table, new Map(rules.get(table)).set(chain, [...before, ...added]));
    }
    return rules;
  }

  async #contentOf(
    place: ChainPlace,
    rule: Rule,
    chain: readonly Rule[],
    signal: AbortSignal,
  ): Promise<RuleContent | undefined> {
    const pattern = patternOf(rule, this.#family);
    if (pattern === undefined) return undefined;
    const key = `${place.table} ${place.chain} ${pattern.shape}`;
    if (!this.#templates.has(key)) {
      const positions = examplesOf(pattern, chain, this.#family);
      // Later there may be more of them.
      if (positions.size < 2) return undefined;
      this.#templates.set(key, await this.#learn(place, positions, chain.length, signal));
    }
    return this.#templates.get(key)?.(this.#bytesOf(pattern.addresses));
  }

  async #learn(
    place: ChainPlace,
    positions: ReadonlyMap<number, readonly Ip[]>,
    length: number,
    signal: AbortSignal,
  ): Promise<RuleTemplate | undefined> {
    try {
      const { contents, count } = await this.#read(place, positions, signal);
      if (count !== length || contents.size !== positions.size) return undefined;
      const examples = Array.from(
        contents,
        ([position, content]): RuleExample => ({
          content,
          addresses: this.#bytesOf(positions.get(position) ?? []),
        }),
      );
      return learnTemplate(examples);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
  }

  /** The contents at these positions of a chain, and the number of its rules. */
  async #read(
    place: ChainPlace,
    positions: { has(position: number): boolean },
    signal: AbortSignal,
  ): Promise<{ readonly contents: ReadonlyMap<number, RuleContent>; readonly count: number }> {
    const contents = new Map<number, RuleContent>();
    let count = 0;
    await this.#netlink.dump(
      dumpRules(place),
      (type, view, start, end) => {
        if (type !== messageType.newRule) return;
        const position = count++;
        const content = positions.has(position) ? readContent(view, start, end) : undefined;
        if (content !== undefined) contents.set(position, content);
      },
      signal,
      () => {
        count = 0;
        contents.clear();
      },
    );
    return { contents, count };
  }

  #bytesOf(addresses: readonly Ip[]): readonly Uint8Array[] {
    return addresses.map((address) => {
      const bytes = new Uint8Array(this.#family.addressBytes);
      this.#family.write(bytes, 0, this.#family.toValue(address));
      return bytes;
    });
  }
}

/** The last rules of a chain with the shape of `pattern`, no two with an address in common: their positions and addresses. */
function examplesOf(
  { shape }: RulePattern,
  chain: readonly Rule[],
  family: Family,
): ReadonlyMap<number, readonly Ip[]> {
  const examples = new Map<number, readonly Ip[]>();
  const used = new Set<Ip>();
  for (let position = chain.length - 1; position >= 0 && examples.size < maxExamples; position--) {
    const rule = chain[position];
    const pattern = rule && patternOf(rule, family);
    if (pattern?.shape !== shape || pattern.addresses.some((address) => used.has(address))) continue;
    for (const address of pattern.addresses) used.add(address);
    examples.set(position, pattern.addresses);
  }
  return examples;
}
