/** Random changes to samples: what a broken tool, a cut read or a hostile peer makes of them. */

export type Random = () => number;

/** The longest input that is made, in characters or bytes. */
export const maxLength = 16_384;

export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

export function pick<T>(random: Random, list: readonly [T, ...T[]] | readonly T[]): T {
  const item = list[below(random, list.length)];
  if (item === undefined) throw new Error("nothing to choose from");
  return item;
}

/** Texts that parsers tend to mistake. */
const hostile: readonly string[] = [
  "",
  " ",
  "\n",
  "\r\n",
  "\t\t",
  "\u0000",
  "\\",
  '"',
  "'",
  ";",
  "{",
  "}",
  "[[[[[[[[",
  "-",
  "--",
  "!",
  "*",
  "@",
  "#",
  "=",
  ":",
  "::",
  ",",
  "/",
  "%00",
  "-1",
  "0",
  "4294967296",
  "18446744073709551616",
  "1e308",
  "NaN",
  "__proto__",
  "constructor",
  "toString",
  "255.255.255.255",
  "0.0.0.0/0",
  "300.1.1.1",
  "::1",
  "\ud800",
  "\u202e",
  "é",
  "💥",
  "COMMIT",
  "-A",
  "a".repeat(300),
  "(".repeat(300),
];

/** One sample with a few changes. The `samples` also lend each other parts. */
export function mutateText(random: Random, samples: readonly string[]): string {
  let text = pick(random, samples);
  for (let count = below(random, 5); count >= 0; count--) {
    const at = below(random, text.length + 1);
    const to = Math.min(text.length, at + below(random, random() < 0.5 ? 4 : 80));
    switch (below(random, 7)) {
      case 0:
        text = text.slice(0, at) + text.slice(to);
        break;
      case 1:
        text = text.slice(0, at) + pick(random, hostile) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + pick(random, hostile) + text.slice(to);
        break;
      case 3:
        text = text.slice(0, to) + text.slice(at, to).repeat(1 + below(random, 8)) + text.slice(to);
        break;
      case 4: {
        const other = pick(random, samples);
        const from = below(random, other.length + 1);
        text = text.slice(0, at) + other.slice(from, from + below(random, 120)) + text.slice(to);
        break;
      }
      case 5:
        text = text.slice(0, at) + String.fromCharCode(below(random, 256)) + text.slice(at + 1);
        break;
      case 6:
        text = text.slice(0, at);
        break;
    }
    text = text.slice(0, maxLength);
  }
  return text;
}

/** The same for bytes. */
export function mutateBytes(random: Random, samples: readonly Uint8Array[]): Uint8Array {
  let bytes = Buffer.from(pick(random, samples));
  for (let count = below(random, 5); count >= 0; count--) {
    const at = below(random, bytes.length + 1);
    const to = Math.min(bytes.length, at + below(random, 24));
    switch (below(random, 6)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = pick(random, [0, 1, 0x7f, 0x80, 0xff]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at, to), bytes.subarray(to)]);
        break;
      case 4:
        bytes = bytes.subarray(0, at);
        break;
      case 5: {
        const other = pick(random, samples);
        const from = below(random, other.length + 1);
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + 24), bytes.subarray(to)]);
        break;
      }
    }
    bytes = Buffer.from(bytes.subarray(0, maxLength));
  }
  return bytes;
}

/** Any JSON value, of a few members. */
export function anyJson(random: Random, depth = 3): unknown {
  switch (below(random, depth > 0 ? 8 : 6)) {
    case 0:
      return null;
    case 1:
      return random() < 0.5;
    case 2:
      return pick(random, [0, -1, 1.5, 65_536, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308]);
    case 3:
    case 4:
      return pick(random, hostile);
    case 5:
      return below(random, 256);
    case 6:
      return Array.from({ length: below(random, 4) }, () => anyJson(random, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: below(random, 4) }, () => [
          pick(random, [...hostile, "name", "eip", "address", "internalIp"]),
          anyJson(random, depth - 1),
        ]),
      );
  }
}

/** A copy of a JSON value in which some values are removed, replaced or added. */
export function mutateJson(random: Random, value: unknown): unknown {
  if (random() < 0.04) return anyJson(random);
  if (Array.isArray(value)) {
    const items = value.flatMap((item) =>
      random() < 0.05 ? [] : random() < 0.05 ? [item, mutateJson(random, item)] : [mutateJson(random, item)],
    );
    return items;
  }
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).flatMap(([name, member]): [string, unknown][] =>
      random() < 0.04 ? [] : [[random() < 0.02 ? pick(random, hostile) : name, mutateJson(random, member)]],
    );
    if (random() < 0.03) members.push([pick(random, hostile), anyJson(random)]);
    return Object.fromEntries(members);
  }
  return typeof value === "string" && random() < 0.05 ? mutateText(random, [value]) : value;
}
