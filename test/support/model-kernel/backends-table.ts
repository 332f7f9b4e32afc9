/** The table of DNATs with several backends in memory: what transactions make of it, and which backend a packet gets. */
import type { Ip } from "../../../lib/model/ip.ts";
import type { Backend } from "../../../lib/model/schema.ts";
import {
  type BackendsRule,
  type BackendsTransaction,
  gotoText,
  type ObservedBackends,
  ruleText,
} from "../../../lib/nftables/backends.ts";
import { backendsDefinitionLines } from "../../../lib/nftables/decode-backends.ts";
import { hashSeed } from "../../../lib/nftables/expressions.ts";
import { concatText } from "../../../lib/nftables/maps.ts";
import { hashOf } from "./jhash.ts";

/** A packet on its way. */
export interface ServedPacket {
  readonly transport: string;
  readonly source: Ip;
  readonly destination: Ip;
  readonly destinationPort: number;
  /** 0 ≤ dice < 1. */
  readonly dice: number;
}

/** What another process does to it. */
export type BackendsHarm = "delete element" | "flush chain" | "add rule" | "stray element" | "delete table";
export const backendsHarms: readonly BackendsHarm[] = [
  "delete element",
  "flush chain",
  "add rule",
  "stray element",
  "delete table",
];

interface Contents {
  /** The chain by key. */
  readonly elements: ReadonlyMap<string, string>;
  /** One of ours, or the text of what others wrote. */
  readonly chains: ReadonlyMap<string, readonly (BackendsRule | string)[]>;
}

export class ModelBackends {
  /** How often anything was written. */
  commits = 0;
  /** The kernel refuses chains whose text matches. */
  refused: RegExp | undefined;
  #contents: Contents | undefined;

  get isThere(): boolean {
    return this.#contents !== undefined;
  }

  get size(): { readonly elements: number; readonly chains: number } {
    return { elements: this.#contents?.elements.size ?? 0, chains: this.#contents?.chains.size ?? 0 };
  }

  read(): ObservedBackends {
    if (this.#contents === undefined)
      return { definition: undefined, elements: new Map(), chains: new Map() };
    const { elements, chains } = this.#contents;
    return {
      definition: backendsDefinitionLines(),
      elements: new Map(Array.from(elements, ([key, chain]) => [key, gotoText(chain)])),
      chains: new Map(Array.from(chains, ([name, rules]) => [name, rules.map(textOf).join("\n")])),
    };
  }

  /** Each chain and each element as text. */
  texts(): readonly string[] {
    const { elements, chains } = this.read();
    return [
      ...Array.from(elements, ([key, verdict]) => `${key} : ${verdict}`),
      ...Array.from(chains, ([name, text]) => `${name.replaceAll("-", " ")} ${text}`),
    ];
  }

  /** One transaction. @returns false if the kernel refuses it */
  write({ definition, remove, drop, write, add }: BackendsTransaction): boolean {
    if (definition === "replace" && this.#contents === undefined) return false;
    if (definition === undefined && this.#contents === undefined) return false;
    const before = definition === undefined ? this.#contents : undefined;
    const elements = new Map(before?.elements);
    const chains = new Map(before?.chains);
    for (const key of remove) if (!elements.delete(key)) return false;
    const isUsed = (chain: string) => elements.values().some((used) => used === chain);
    for (const chain of drop) if (isUsed(chain) || !chains.delete(chain)) return false;
    for (const [chain, { isNew, ...rule }] of write) {
      if (isNew === chains.has(chain)) return false;
      if (this.refused?.test(ruleText(rule))) return false;
      chains.set(chain, [rule]);
    }
    for (const [key, chain] of add) {
      if (elements.has(key) || !chains.has(chain)) return false;
      elements.set(key, chain);
    }
    this.#contents = { elements, chains };
    this.commits++;
    return true;
  }

  /** @returns the same as a command of nft; `undefined` if there is nothing to harm */
  harm(kind: BackendsHarm, number: number): string | undefined {
    if (this.#contents === undefined) return undefined;
    const elements = new Map(this.#contents.elements);
    const chains = new Map(this.#contents.chains);
    const key = [...elements.keys()][number % Math.max(elements.size, 1)] ?? "";
    const chain = [...chains.keys()][number % Math.max(chains.size, 1)] ?? "";
    const table = "ip kube-ovn";
    const done = (command: string) => {
      this.#contents = { elements, chains };
      this.commits++;
      return command;
    };
    if (chain === "" && kind !== "delete table") return undefined;
    switch (kind) {
      case "delete table":
        this.#contents = undefined;
        this.commits++;
        return `delete table ${table}`;
      case "delete element":
        return elements.delete(key) ? done(`delete element ${table} dnat_backends { ${key} }`) : undefined;
      case "flush chain":
        chains.set(chain, []);
        return done(`flush chain ${table} ${chain}`);
      case "add rule":
        chains.set(chain, ["accept", ...(chains.get(chain) ?? [])]);
        return done(`insert rule ${table} ${chain} accept`);
      case "stray element": {
        const stray = "203.0.113.12 . tcp . 8080";
        if (elements.has(stray)) return undefined;
        elements.set(stray, chain);
        return done(`add element ${table} dnat_backends { ${stray} : goto ${chain} }`);
      }
    }
  }

  /** The backend that a new flow gets; `undefined` if the table does not translate it. */
  draw({ transport, source, destination, destinationPort, dice }: ServedPacket): Backend | undefined {
    const chain = this.#contents?.elements.get(concatText(destination, transport, destinationPort));
    const [rule] = (chain === undefined ? undefined : this.#contents?.chains.get(chain)) ?? [];
    if (rule === undefined || typeof rule === "string" || rule.protocol !== transport) return undefined;
    const { backends, isSticky = false } = rule;
    return backends[
      isSticky ? hashOf(source, backends.length, hashSeed) : Math.floor(dice * backends.length)
    ];
  }
}

function textOf(rule: BackendsRule | string): string {
  return typeof rule === "string" ? rule : ruleText(rule);
}
