/** `natgwctl __complete`: called by the scripts of `natgwctl completion`. Never fails, and never takes long. */
import type { Command } from "commander";
import { printable } from "../../../lib/text/printable.ts";
import type { ObjectList } from "../documents.ts";
import { targetOf } from "../target.ts";
import { candidates } from "./candidates.ts";

const timeoutMs = 1_000;
const maxNames = 1_000;

/** One candidate a line. */
export async function complete(program: Command, words: readonly string[]): Promise<string> {
  const found = candidates(program, words);
  const { namesOf: collection, prefix = "" } = found;
  const names = collection === undefined ? [] : await namesOf(collection, words);
  const current = words.at(-1) ?? "";
  const matching = names.map((name) => prefix + name).filter((word) => word.startsWith(current));
  return [...found.words, ...matching.slice(0, maxNames)].map((word) => `${printable(word)}\n`).join("");
}

async function namesOf(collection: string, words: readonly string[]): Promise<readonly string[]> {
  const { openApi } = await import("../api.ts");
  try {
    const option = (name: string) => {
      const at = words.indexOf(name);
      return at === -1 || at === words.length - 1 ? {} : { [camel(name)]: words[at + 1] };
    };
    const named = ["--socket", "--server", "--token-file", "--ca", "--cert", "--key"].map(option);
    const api = await openApi(targetOf(Object.assign({}, ...named), process.env), timeoutMs);
    try {
      return (await api.get<ObjectList>(`/v1/${collection}`)).items.map(({ name }) => name);
    } finally {
      api.close();
    }
  } catch {
    return [];
  }
}

function camel(option: string): string {
  return option.slice(2).replace(/-(\w)/g, (_all, letter: string) => letter.toUpperCase());
}
