/** Values as YAML 1.2 in ASCII. A parser returns the same value. */
import { printable } from "./printable.ts";

/** Texts that are no text without quotes: in YAML 1.2, and in the 1.1 of older parsers. */
const reserved = /^(?:null|true|false|yes|no|on|off|y|n|~)$/i;
/** A text that needs no quotes. It does not start like a number, a date or a sign, and has no `: ` or ` #`. */
const plain = /^[A-Za-z_/][\w./-]*$/;
/** Addresses and networks, and nothing that could be a number: at least two dots. */
const dotted = /^\d{1,3}(?:\.\d{1,3}){3}(?:\/\d{1,2})?$/;

/** A document with its final newline. Values are those of JSON; `undefined` members are left out. */
export function toYaml(value: unknown): string {
  return `${block(value, "").replace(/^\n/, "").trimStart()}\n`;
}

/** The value after a key or a dash: ` scalar`, or lines that start with a newline. */
function block(value: unknown, indent: string): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return " []";
    return value.map((item) => `\n${indent}-${inList(item, indent)}`).join("");
  }
  if (isRecord(value)) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    if (members.length === 0) return " {}";
    return members
      .map(([key, member]) => {
        // A list may stand below its key without more space, as kubectl writes it.
        const inner = Array.isArray(member) ? indent : `${indent}  `;
        return `\n${indent}${text(key)}:${block(member, inner)}`;
      })
      .join("");
  }
  return ` ${scalar(value)}`;
}

/** An item of a list: the first line of a nested value stands behind the dash. */
function inList(item: unknown, indent: string): string {
  const lines = block(item, `${indent}  `);
  return lines.startsWith("\n") ? ` ${lines.slice(1 + indent.length + 2)}` : lines;
}

function scalar(value: unknown): string {
  if (typeof value === "string") return text(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return "null";
}

function text(value: string): string {
  if (plain.test(value) && !reserved.test(value)) return value;
  if (dotted.test(value)) return value;
  // A quoted text of JSON is one of YAML, except that YAML knows no surrogates.
  return JSON.stringify(value).replace(/[\s\S]/gu, (character) => {
    const point = character.codePointAt(0) ?? 0;
    return point > 0xffff ? `\\U${point.toString(16).padStart(8, "0")}` : printable(character);
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
