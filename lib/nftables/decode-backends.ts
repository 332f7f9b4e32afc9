/**
 * Reads the table of backends from dumps. What is there is compared as the bytes of messages, as definition-lines.ts does; only the
 * name of a rule's map, which the kernel gives, is left out, and its elements are put beside the rule.
 */
import { GatewayError } from "../model/errors.ts";
import type { Backend, Protocol } from "../model/schema.ts";
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { backendsChain, backendsMap, backendsTable, drawnMap, ruleText } from "./backends.ts";
import { forEachElementOf } from "./decode-elements.ts";
import { lineOfMessage } from "./definition-lines.ts";
import { newRule } from "./definition-messages.ts";
import { encodeBackendsDefinition, type RuleShape, ruleExpressions, unnamedMap } from "./encode-backends.ts";
import { tableLabel } from "./family.ts";
import { tableOf } from "./foreign.ts";
import {
  chainAttribute,
  headerBytes,
  messageType,
  ruleAttribute,
  setAttribute,
  setFlag,
  tableAttribute,
} from "./wire.ts";

/** Collects the table's content from dumps of tables, chains, sets, objects and rules, or only of some chains and their sets. */
export class BackendsReader {
  /** The rules of each chain that is on no hook. */
  readonly rules = new Map<string, RuleRead[]>();
  /** The anonymous maps that rules look up, as lines. */
  readonly sets = new Map<string, string>();
  readonly #definition: string[] = [];
  #table: string | undefined;
  #use: number | undefined;
  /** Chains, sets with a name and objects: what the kernel counts as used. */
  #held = 0;

  read(type: number, view: DataView, start: number, end: number): void {
    if (tableOf(view, start, end) !== tableLabel(backendsTable)) return;
    const described = lineOfMessage(type, view, start, end);
    if (described === undefined) return;
    const { kind, line } = described;
    const at = (attribute: number) => find(view, start + headerBytes, end, attribute);
    const textAt = (attribute: number) => {
      const found = at(attribute);
      return found === undefined ? "" : readText(view, payloadOf(found), attributeEnd(view, found, end));
    };
    if (kind === "table") {
      const use = at(tableAttribute.use);
      this.#table = line;
      this.#use = use === undefined ? undefined : view.getUint32(requirePayload(view, use, end, 4));
      return;
    }
    if (kind === "rule") {
      const chain = textAt(ruleAttribute.chain);
      const rules = this.rules.get(chain);
      const { text, set } = withoutName(line);
      // Rules of a hook belong to the definition.
      if (rules === undefined) this.#definition.push(line);
      else rules.push({ text: text.slice(text.indexOf(" ", "rule ".length) + 1), set });
      return;
    }
    const isSet = kind === "map" && isUnnamed(view, at(setAttribute.flags), end);
    if (!isSet) this.#held++;
    if (kind === "chain" && at(chainAttribute.hook) === undefined)
      this.rules.set(textAt(chainAttribute.name), []);
    else if (isSet) this.sets.set(textAt(setAttribute.name), withoutSetName(line));
    else this.#definition.push(line);
  }

  /** Everything but chains without hook and their sets; `undefined`: there is no table. */
  get definition(): readonly string[] | undefined {
    if (this.#table === undefined) return undefined;
    // Flowtables are counted, and not read. Not every kernel counts sets without a name.
    const use = this.#use ?? this.#held;
    const more = use === this.#held + this.sets.size ? 0 : use - this.#held;
    const isRule = (line: string) => line.startsWith("rule ");
    return [
      `${this.#table}and ${more} more`,
      ...this.#definition.filter((line) => !isRule(line)).sort(),
      ...this.#definition.filter(isRule),
    ];
  }

  /** The chains as text, with the elements of the sets that they draw from. */
  chains(elements: ReadonlyMap<string, Drawn>): ReadonlyMap<string, string> {
    return new Map(
      Array.from(this.rules, ([name, rules]) => [
        name,
        rules.map((rule) => this.#textOf(rule, elements)).join("\n"),
      ]),
    );
  }

  #textOf({ text, set }: RuleRead, elements: ReadonlyMap<string, Drawn>): string {
    const drawn = set === undefined ? undefined : elements.get(set);
    const line = set === undefined ? undefined : this.sets.get(set);
    if (drawn === undefined || line === undefined) return text;
    const { backends, isWhole } = drawn;
    const shape = isWhole ? shapeOf(text, line, backends.length) : undefined;
    return shape === undefined ? `${text} ${line}{ ${drawn.text} }` : ruleText({ ...shape, backends });
  }
}

interface RuleRead {
  readonly text: string;
  /** The set without a name that it looks up. */
  readonly set: string | undefined;
}

/** The elements of a set that a rule draws from. */
export interface Drawn {
  readonly backends: readonly Backend[];
  /** True if the keys are 0, 1 and so on, each once. */
  readonly isWhole: boolean;
  /** All of them, if they are not. */
  readonly text: string;
}

/** Gathers the elements of one set of a rule. */
export class DrawnReader {
  readonly #backends: Backend[] = [];
  readonly #texts: string[] = [];
  #count = 0;

  read(type: number, view: DataView, start: number, end: number): void {
    if (type !== messageType.newElements) return;
    try {
      forEachElementOf(drawnMap, view, start, end, (key, value) => {
        this.#count++;
        const [ip, port] = value.split(" . ");
        if (Number(key) < maxDrawn) this.#backends[Number(key)] = { ip, port: Number(port) } as Backend;
      });
    } catch (error) {
      // A set of another kind, which is not ours.
      if (!(error instanceof GatewayError)) throw error;
      this.#texts.push(`(${error.message})`);
    }
  }

  get drawn(): Drawn {
    const backends = this.#backends;
    const isWhole =
      this.#texts.length === 0 && this.#count === backends.length && !backends.includes(undefined as never);
    const text = isWhole ? "" : [JSON.stringify(backends), this.#count, ...this.#texts].join(" ");
    return { backends, isWhole, text };
  }
}

/** A key beyond this is none of ours. */
const maxDrawn = 65_536;

/** The lines that a dump of the definition gives. */
export function backendsDefinitionLines(): readonly string[] {
  knownDefinition ??= definitionLinesOf(encodeBackendsDefinition());
  return knownDefinition;
}

let knownDefinition: readonly string[] | undefined;

function definitionLinesOf(messages: readonly NetlinkMessage[]): readonly string[] {
  const reader = new BackendsReader();
  for (const message of messages) reader.read(message.type, ...viewOf(message));
  return reader.definition ?? [];
}

/**
 * The map of verdicts whose elements can be read: ours, or the only one that leads from services to chains. Kube-OVN's script
 * gives it another name, and an import reads it before the table is made again.
 */
export function readableMap(definition: readonly string[]): string | undefined {
  const ours = backendsDefinitionLines().find((line) => line.startsWith("map "));
  if (ours === undefined) return undefined;
  if (definition.includes(ours)) return backendsMap;
  const alike = definition.filter((line) => line.startsWith("map ") && typesOf(line) === typesOf(ours));
  const [, name] = /^map 2=([0-9a-f]+)00 /.exec((alike.length === 1 && alike[0]) || "") ?? [];
  return name === undefined ? undefined : fromHex(name);
}

/** Flags, and types and lengths of keys and values. */
function typesOf(line: string): string {
  return line.match(/ [3-7]=[0-9a-f]+/g)?.join("") ?? "";
}

const protocols: readonly Protocol[] = ["tcp", "udp", "sctp"];
const shapes = new Map<string, string>();

/** What a rule is that is one of ours, with its set. */
function shapeOf(rule: string, set: string, size: number): RuleShape | undefined {
  for (const isSticky of [false, true])
    for (const protocol of protocols) {
      const shape = { protocol, size, isSticky };
      if (linesOf(shape) === `${rule}\n${set}`) return shape;
    }
  return undefined;
}

function linesOf(shape: RuleShape): string {
  const { protocol, size, isSticky } = shape;
  const key = `${protocol} ${size} ${isSticky}`;
  const known = shapes.get(key) ?? makeLines(shape);
  shapes.set(key, known);
  return known;
}

function makeLines(shape: RuleShape): string {
  const line = (message: NetlinkMessage) => lineOfMessage(message.type, ...viewOf(message))?.line ?? "";
  const rule = line(newRule(backendsChain, ruleExpressions(shape, 1), backendsTable));
  const { text } = withoutName(rule);
  return `${text.slice(text.indexOf(" ", "rule ".length) + 1)}\n${withoutSetName(line(unnamedMap(shape.size, 1)))}`;
}

/** Leaves out what a rule calls the map without a name: its name, and in a request its number in the transaction. */
function withoutName(line: string): { readonly text: string; readonly set: string | undefined } {
  let set: string | undefined;
  const text = line.replace(
    /lookup\(1=((?:[0-9a-f]{2})+?)00 ([^)]*)\)/,
    (whole, name: string, rest: string) => {
      const spelt = fromHex(name);
      if (!spelt.startsWith("__")) return whole;
      set = spelt;
      return `lookup(${rest.replace(/4=[0-9a-f]+ ?/, "")})`;
    },
  );
  return { text, set };
}

function withoutSetName(line: string): string {
  return line.replace(/^map 2=[0-9a-f]+ /, "map ");
}

function isUnnamed(view: DataView, flags: number | undefined, end: number): boolean {
  return (
    flags !== undefined && (view.getUint32(requirePayload(view, flags, end, 4)) & setFlag.anonymous) !== 0
  );
}

function find(view: DataView, start: number, end: number, type: number): number | undefined {
  for (let at = start; at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === type) return at;
  return undefined;
}

function viewOf({ payload }: NetlinkMessage): readonly [view: DataView, start: number, end: number] {
  return [new DataView(payload.buffer, payload.byteOffset, payload.byteLength), 0, payload.length];
}

function fromHex(hex: string): string {
  return hex.replace(/../g, (byte) => String.fromCharCode(Number.parseInt(byte, 16)));
}
