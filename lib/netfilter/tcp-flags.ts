/** Tests of TCP's flags, by the flags of the packets that every connection has. */
import type { Beyond, NameTest } from "./chain.ts";

const bits: Readonly<Record<string, number>> = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ecn: 0x40,
  cwr: 0x80,
  all: 0x3f,
  none: 0,
};

/** Of the first packet; and of those that follow: the answer to it, then with and without data. */
const firstFlags = 0x02;
const laterFlags = [0x12, 0x10, 0x18];

export interface FlagsShare {
  readonly test?: NameTest;
  readonly beyond: Beyond;
}

/** @param isMatch whether a packet with these flags matches */
export function shareOfFlags(isMatch: (flags: number) => boolean): FlagsShare {
  const isFirst = isMatch(firstFlags);
  const laterCount = laterFlags.filter(isMatch).length;
  const isAllLater = laterCount === laterFlags.length;
  if (isFirst && isAllLater) return { beyond: "all" };
  if (!isFirst && laterCount === 0) return { beyond: "part" };
  const test: NameTest = { field: "state", names: ["new"], isInverted: !isFirst };
  return { test, beyond: isFirst || isAllLater ? "all" : "unclear" };
}

/** `SYN,ACK` or `syn | ack`, `0x12`. `undefined` for an unknown word. */
export function flagBits(text: string): number | undefined {
  let sum = 0;
  for (const word of text.toLowerCase().split(/[,|]/)) {
    const name = word.trim();
    const bit = bits[name] ?? (/^(?:0x)?[0-9a-f]+$/.test(name) ? Number(name) : Number.NaN);
    if (Number.isNaN(bit)) return undefined;
    sum |= bit;
  }
  return sum;
}

const expression =
  /^(?:& (?:\(([^)]*)\)|(\w+)) (?=[=!]))?(?:(==|!=|!) )?(\{ [^}]* \}|\w+(?:,\w+| \| \w+)*)(?: \/ ([\w,]+))?/;

/**
 * The expression after `tcp flags` as nft prints it, up to the next statement: `syn`, `! syn`, `== ack`,
 * `syn / fin,syn,rst,ack`, `& (fin | syn) == syn`, `{ syn, syn | ack }`.
 *
 * @returns its share and length in characters; `undefined` if it is unknown
 */
export function readNftFlags(text: string): (FlagsShare & { readonly length: number }) | undefined {
  const found = expression.exec(text);
  if (found === null) return undefined;
  const [{ length }, several, one, operator, value = "", after] = found;
  const mask = several ?? one ?? after;
  const values = value
    .replace(/^\{ | \}$/g, "")
    .split(value.startsWith("{") ? ", " : "\n")
    .map(flagBits);
  const maskBits = mask === undefined ? undefined : flagBits(mask);
  if (!values.every((one) => one !== undefined) || (mask !== undefined && maskBits === undefined))
    return undefined;
  // Without a mask nft prints one flag or several for "any of them".
  const isAnyOf =
    maskBits === undefined && !value.startsWith("{") && (operator === undefined || operator === "!");
  const isEqual = (flags: number) =>
    values.some((one) => (isAnyOf ? (flags & one) !== 0 : (flags & (maskBits ?? 0xff)) === one));
  const isInverted = operator === "!=" || operator === "!";
  return { ...shareOfFlags((flags) => isEqual(flags) !== isInverted), length };
}
