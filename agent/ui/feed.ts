/** What happened, the newest first. */
import { age, h } from "./dom.ts";
import type { Entry } from "./news.ts";

const maxEntries = 200;
const maxChanges = 5;

export class Feed {
  readonly #list: HTMLElement;

  constructor(list: HTMLElement) {
    this.#list = list;
    this.#showEmpty();
  }

  add(entry: Entry): void {
    this.#list.querySelector(".empty")?.remove();
    this.#list.prepend(element(entry));
    while (this.#list.childElementCount > maxEntries) this.#list.lastElementChild?.remove();
  }

  #showEmpty(): void {
    this.#list.append(h("li", { class: "empty" }, "Nothing happened since the page was opened."));
  }
}

function element({ at, level, type, text, changes = [], total = changes.length, id }: Entry): HTMLElement {
  const shown = changes.slice(0, maxChanges);
  return h(
    "li",
    { class: level },
    h("span", { class: "when" }, age(at)),
    h("span", { class: "type" }, type),
    h(
      "span",
      { class: "text" },
      id === undefined ? text : h("a", { href: `#${encodeURI(id)}` }, text),
      shown.length > 0 &&
        h("ul", {}, ...shown.map((change) => h("li", { class: "mono" }, `${change.action} ${change.text}`))),
      total > shown.length &&
        shown.length > 0 &&
        h("span", { class: "muted" }, `and ${total - shown.length} more`),
    ),
  );
}
