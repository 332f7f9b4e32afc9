/** The words of a rule as nft prints it, taken one after the other. Texts in quotation marks and elements in braces are one word. */
export class NftWords {
  #words: string[];

  constructor(text: string) {
    this.#words = split(text);
  }

  get isEmpty(): boolean {
    return this.#words.length === 0;
  }

  /** The next word, or one after it. */
  peek(ahead = 0): string {
    return this.#words[ahead] ?? "";
  }

  take(): string {
    return this.#words.shift() ?? "";
  }

  /** All that is left. */
  get text(): string {
    return this.#words.join(" ");
  }

  /** A name, without its quotation marks. */
  takeName(): string {
    return this.take().replaceAll('"', "");
  }

  skip(count: number): true {
    this.#words.splice(0, count);
    return true;
  }

  /** Skips up to the first word that matches, and that one. */
  skipPast(pattern: RegExp): void {
    this.skip(this.#words.findIndex((word) => pattern.test(word)) + 1);
  }

  /** Takes all that is left. */
  takeRest(): string {
    return this.#words.splice(0).join(" ");
  }

  /** Puts words in front of what is left. */
  putBack(text: string): void {
    this.#words.unshift(...split(text));
  }
}

function split(text: string): string[] {
  return Array.from(text.matchAll(/"(?:[^"\\]|\\.)*"|\{[^}]*\}|\S+/g), ([word]) => word);
}
