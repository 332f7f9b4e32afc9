/** The places in the sources that refuse a start or a request, by the text that they say. */
import { readFileSync } from "node:fs";
import { errorCodes } from "../../lib/model/errors.ts";

export interface RefusalSite {
  readonly file: string;
  /** The literal texts of the call, as written. */
  readonly text: string;
  /** What a message of this place matches. */
  readonly pattern: RegExp;
}

/** What makes an error with one of these codes: the class, or a function of the file. */
const makers = /\b(?:new GatewayError|badConfig|incompleteTls|refusal|forbidden)\(/g;

/** Calls that make an error with one of `codes`, or leave the code to a function of their file. */
export function refusalSites(files: readonly string[], codes: readonly string[]): readonly RefusalSite[] {
  return files.flatMap((file) => {
    const source = readFileSync(file, "utf8");
    return Array.from(source.matchAll(makers), ({ 0: maker, index }) => {
      if (source.slice(0, index).endsWith("function ")) return undefined;
      const texts = literalsOf(source.slice(index + maker.length, endOfCall(source, index + maker.length)));
      const code = texts.find((text) => Object.hasOwn(errorCodes, text));
      if (maker.startsWith("new") ? !codes.includes(code ?? "") : !usesCode(source, codes)) return undefined;
      const said = texts.filter((text) => text !== code);
      // A function that is given its message.
      if (said.length === 0) return undefined;
      return { file, text: said.join(" … "), pattern: new RegExp(said.map(patternOf).join("[^]*")) };
    }).filter((site) => site !== undefined);
  });
}

function usesCode(source: string, codes: readonly string[]): boolean {
  return codes.some((code) => source.includes(`new GatewayError("${code}"`));
}

/** The index of the parenthesis that ends a call. Parentheses in texts count: those of messages are in pairs. */
function endOfCall(source: string, from: number): number {
  let depth = 1;
  for (let at = from; at < source.length; at++) {
    if (source[at] === "(") depth++;
    if (source[at] === ")" && --depth === 0) return at;
  }
  return source.length;
}

function literalsOf(text: string): readonly string[] {
  return Array.from(text.matchAll(/"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g), ([, plain, template]) =>
    plain === undefined ? (template ?? "") : plain,
  ).filter((literal) => literal !== "");
}

function patternOf(literal: string): string {
  return literal
    .split(/\$\{[^}]*\}/)
    .map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join("[^]*");
}
