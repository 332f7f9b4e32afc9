/**
 * The speed layer around `JSON.parse`: parses a long text in pieces, so that the event loop runs in between. It gives the
 * same value, or refuses the same text; a test compares the two.
 *
 * It splits a long list or object at its own commas and lets the plain parser read what is between them. So it decides
 * nothing about JSON itself: if it split wrongly, the plain parser refuses a piece. The text stays as the bytes that came:
 * only the pieces become strings.
 */
import { type Chunked, everyNth } from "../../../lib/chunked.ts";
import { countKeys } from "../../../lib/count-keys.ts";
import {
  closeBrace,
  closeBracket,
  colon,
  comma,
  endOfString,
  openBrace,
  openBracket,
  quote,
  skipSpace,
  trimSpace,
} from "./scan.ts";

/** Parses a text completely. Throws if it is no JSON. */
export type PlainParser = (text: string) => unknown;

export interface ParseOptions {
  readonly parse: PlainParser;
  /** Bytes that are parsed at once. */
  readonly atOnce: number;
}

export interface Parsed {
  readonly value: unknown;
  /** Number of members of all objects in the value. A name that occurs again in its object is not counted again. */
  readonly keys: number;
}

/** A few milliseconds' worth of a scan. */
const scannedAtOnce = 250_000;
const membersAtOnce = 2_000;

/** Parses a text in UTF-8. Throws what the plain parser throws, or a SyntaxError. */
export function* parseChunked(text: Buffer, options: ParseOptions): Chunked<Parsed> {
  const parser = new Parser(text, options);
  const value = yield* parser.value(0, text.length);
  return { value, keys: parser.keys };
}

class Parser {
  readonly #text: Buffer;
  readonly #options: ParseOptions;
  /** Members of all objects so far. */
  keys = 0;
  #scanned = 0;

  constructor(text: Buffer, options: ParseOptions) {
    this.#text = text;
    this.#options = options;
  }

  /** The value between two positions. */
  *value(from: number, to: number): Chunked<unknown> {
    const text = this.#text;
    const start = skipSpace(text, from);
    const end = trimSpace(text, to);
    const [first, last] = [text[start], text[end - 1]];
    if (end - start > this.#options.atOnce) {
      if (first === openBracket && last === closeBracket) return yield* this.#list(start + 1, end - 1);
      if (first === openBrace && last === closeBrace) return yield* this.#object(start + 1, end - 1);
    }
    const [value] = this.#some(start, end, 1);
    yield;
    return value;
  }

  *#list(from: number, to: number): Chunked<unknown[]> {
    const { atOnce } = this.#options;
    const items: unknown[] = [];
    if (skipSpace(this.#text, from) >= to) return items;
    // The items that were scanned and not parsed yet.
    let [begin, count] = [from, 0];
    for (let item = from; ; ) {
      const end = yield* this.#endOfItem(item, to);
      const isLong = end - item > atOnce;
      if (count > 0 && (isLong || end - begin > atOnce)) {
        for (const value of this.#some(begin, item - 1, count)) items.push(value);
        yield;
        [begin, count] = [item, 0];
      }
      if (isLong) {
        items.push(yield* this.value(item, end));
        begin = end + 1;
      } else count++;
      if (end >= to) break;
      item = end + 1;
    }
    if (count > 0) for (const value of this.#some(begin, to, count)) items.push(value);
    yield;
    return items;
  }

  *#object(from: number, to: number): Chunked<Record<string, unknown>> {
    const text = this.#text;
    const object: Record<string, unknown> = {};
    const isDue = everyNth(membersAtOnce);
    if (skipSpace(text, from) >= to) return object;
    for (let member = from; ; ) {
      const end = yield* this.#endOfItem(member, to);
      const open = skipSpace(text, member);
      const close = text[open] === quote ? endOfString(text, open) : -1;
      const separator = close === -1 ? -1 : skipSpace(text, close + 1);
      if (separator === -1 || separator >= end || text[separator] !== colon)
        throw new SyntaxError("a member has no name");
      // With any value, the plain parser says what the name is.
      const isLong = end - member > this.#options.atOnce;
      const [name, short] = this.#member(
        this.#slice(member, isLong ? separator + 1 : end),
        isLong ? "0" : "",
      );
      if (!Object.hasOwn(object, name)) this.keys++;
      if (!isLong) this.keys += countKeys(short);
      const value = isLong ? yield* this.value(separator + 1, end) : short;
      if (isLong) refusePrototype(name, value);
      object[name] = value;
      if (isDue()) yield;
      if (end >= to) break;
      member = end + 1;
    }
    return object;
  }

  /** The position of the comma after the item at `from`, or `to`. */
  *#endOfItem(from: number, to: number): Chunked<number> {
    const text = this.#text;
    let depth = 0;
    for (let at = from; at < to; at++) {
      if (++this.#scanned % scannedAtOnce === 0) yield;
      switch (text[at]) {
        case quote: {
          const close = endOfString(text, at);
          if (close === -1 || close >= to) throw new SyntaxError("a string does not end");
          at = close;
          break;
        }
        case openBrace:
        case openBracket:
          depth++;
          break;
        case closeBrace:
        case closeBracket:
          depth--;
          break;
        case comma:
          if (depth === 0) return at;
          break;
      }
    }
    return to;
  }

  /** Parses `count` items at once. */
  #some(from: number, to: number, count: number): readonly unknown[] {
    const values = this.#options.parse(`[${this.#slice(from, to)}]`);
    if (!Array.isArray(values) || values.length !== count) throw new SyntaxError("a value is missing");
    this.keys += countKeys(values);
    return values;
  }

  #slice(from: number, to: number): string {
    return this.#text.toString("utf8", from, to);
  }

  /** The one member of an object, with its value. */
  #member(text: string, value: string): readonly [string, unknown] {
    const [member, ...others] = Object.entries(Object(this.#options.parse(`{${text}${value}}`)));
    if (member === undefined || others.length > 0) throw new SyntaxError("a member is missing");
    return member;
  }
}

/** What the plain parser does where it sees all of a member. */
function refusePrototype(name: string, value: unknown): void {
  if (name === "constructor" && Object.hasOwn(Object(value), "prototype"))
    throw new SyntaxError("Object contains forbidden prototype property");
}
