/**
 * Reads the rules of the table of rate limits from the lines of its definition. What is read is encoded again and compared with
 * the line: what the agent would not write is not read.
 */
import type { Cidr } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ReadableSet } from "./decode-qos.ts";
import { qosHeadLines, qosRuleLines } from "./encode-qos.ts";
import { tableFamily } from "./family.ts";
import { partsOfValue, policyCounters, type QosAddress, type QosPackets, type QosRule } from "./qos.ts";

export interface QosRulesRead {
  /** In the kernel's order. Each once, though a rule about an address before NAT has two lines. */
  readonly rules: readonly QosRule[];
  /** How many lines are of rules that the agent does not make. */
  readonly unknown: number;
}

/**
 * @param lines of the whole definition
 * @param sets the maps and sets whose elements can be read
 * @param links all interfaces of the namespace
 */
export function qosRulesIn(
  lines: readonly string[],
  sets: readonly ReadableSet[],
  links: readonly InterfaceName[],
): QosRulesRead {
  const heads = headsOf(links);
  const rules: QosRule[] = [];
  let unknown = 0;
  /** Further lines of rules that were read. */
  const expected = new Set<string>();
  for (const line of lines) {
    if (!line.startsWith("rule ") || expected.delete(line)) continue;
    const head = heads.find(({ text }) => line.startsWith(`${text} `));
    const rule = head && readRule(head, line, sets);
    const [first, ...others] = rule === undefined ? [] : qosRuleLines(rule);
    if (rule === undefined || first !== line) unknown++;
    else {
      rules.push(rule);
      for (const other of others) expected.add(other);
    }
  }
  return { rules, unknown };
}

interface Head extends QosPackets {
  readonly text: string;
}

/** The longest first: an address comes behind the interfaces. */
function headsOf(links: readonly InterfaceName[]): readonly Head[] {
  const addresses: readonly (QosAddress | undefined)[] = [
    ...(["source", "destination"] as const).flatMap((side) =>
      [true, false].map((isBeforeNat) => ({ side, isBeforeNat })),
    ),
    undefined,
  ];
  return addresses.flatMap((address) =>
    links.flatMap((out) =>
      [undefined, ...links].flatMap((from): readonly Head[] => {
        const [text] = qosHeadLines({ out, in: from, address });
        return text === undefined ? [] : [{ out, in: from, address, text }];
      }),
    ),
  );
}

function readRule(
  { text, ...packets }: Head,
  line: string,
  sets: readonly ReadableSet[],
): QosRule | undefined {
  const action = line.slice(text.length + 1);
  const userdata = / 7=00[0-9a-f]{2}((?:[0-9a-f]{2})*)00 $/.exec(action)?.[1];
  const { priority } = partsOfValue(`rule ${userdata === undefined ? "" : bytesText(userdata)}`);
  const match = readMatch(action, sets);
  const counter = policyCounters.find((name) => action.includes(objrefTo(name)));
  return (
    match && {
      ...packets,
      ...(priority !== undefined && { priority }),
      ...(counter !== undefined && { counter }),
      match,
    }
  );
}

/** The name as text with a NUL. */
function objrefTo(name: string): string {
  return ` 2=${Array.from(`${name}\0`, (one) => one.charCodeAt(0).toString(16).padStart(2, "0")).join("")})`;
}

const hex8 = "([0-9a-f]{8})";
const inNetwork = new RegExp(`^bitwise\\([^)]* 4=08000100${hex8} [^)]*\\) cmp\\([^)]* 3=08000100${hex8}\\) `);
const toClass = new RegExp(`^immediate\\([^)]*2=08000100${hex8}\\) meta\\(`);
const over = /^limit\(1=([0-9a-f]{16}) 2=[0-9a-f]{16} 3=([0-9a-f]{8}) /;
const ofName = /^lookup\(1=((?:[0-9a-f]{2})+?)00 /;

function readMatch(action: string, sets: readonly ReadableSet[]): QosRule["match"] | undefined {
  const hexName = ofName.exec(action)?.[1];
  if (hexName !== undefined) {
    const set = sets.find(({ name }) => name === bytesText(hexName));
    return set && (set.isMap ? { map: set.name } : { set: set.name });
  }
  const [whole = "", mask, address] = inNetwork.exec(action) ?? [];
  const network = mask === undefined || address === undefined ? undefined : networkOf(mask, address);
  const rest = action.slice(whole.length);
  const handle = toClass.exec(rest)?.[1];
  // In host byte order.
  if (handle !== undefined) return { network, verdict: { class: Number.parseInt(reversed(handle), 16) } };
  const [, rate, burst] = over.exec(rest) ?? [];
  if (rate === undefined || burst === undefined) return undefined;
  return {
    network,
    verdict: { over: { rate: Number.parseInt(rate, 16), burst: Number.parseInt(burst, 16) } },
  };
}

function networkOf(mask: string, address: string): Cidr | undefined {
  const { read, lengthOfMask, makeCidr, format } = tableFamily;
  const value = (hex: string) =>
    read(new DataView(Uint8Array.from(bytesOf(hex), (byte) => Number.parseInt(byte, 16)).buffer), 0);
  const length = lengthOfMask(value(mask));
  return length === undefined ? undefined : makeCidr(format(value(address)), length);
}

function bytesOf(hex: string): readonly string[] {
  return hex.match(/../g) ?? [];
}

function reversed(hex: string): string {
  return bytesOf(hex).toReversed().join("");
}

function bytesText(hex: string): string {
  return String.fromCharCode(...bytesOf(hex).map((byte) => Number.parseInt(byte, 16)));
}
