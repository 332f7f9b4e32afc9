/** The list of objects. Only the rows in view exist, so 50,000 objects cost no more than 50. */
import { age, h } from "./dom.ts";
import { reasonOf, stateOf, whatOf } from "./objects.ts";
import { type GatewayObject, idOf, type ObjectId } from "./types.ts";

/** As in style.css. */
const rowHeight = 30;
/** Rows beyond the visible ones, for smooth scrolling. */
const margin = 8;
/** Browsers limit the height of an element: about 16 million pixels in the worst of them. */
const maxRows = 500_000;

export class ObjectTable {
  readonly #list: HTMLElement;
  readonly #spacer = h("div", { class: "spacer" });
  readonly #open: (id: ObjectId) => void;
  #rows: readonly GatewayObject[] = [];
  /** The selected object, by its id: rows move when others change. */
  #selected: ObjectId | undefined;
  #emptyText = "";
  #isDrawn = true;

  constructor(list: HTMLElement, open: (id: ObjectId) => void) {
    this.#list = list;
    this.#open = open;
    list.append(this.#spacer);
    list.addEventListener("scroll", () => this.#redraw(), { passive: true });
    list.addEventListener("keydown", (event) => this.#onKey(event));
    list.addEventListener("focus", () => this.#select(this.#selectedIndex() ?? 0));
    new ResizeObserver(() => this.#redraw()).observe(list);
  }

  show(rows: readonly GatewayObject[], emptyText: string): void {
    this.#rows = rows.slice(0, maxRows);
    this.#emptyText = emptyText;
    // At once: a key may scroll before the rows are drawn.
    this.#spacer.style.height = `${this.#rows.length * rowHeight}px`;
    this.#redraw();
  }

  #redraw(): void {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    requestAnimationFrame(() => {
      this.#isDrawn = true;
      this.#draw();
    });
  }

  #draw(): void {
    const { scrollTop, clientHeight } = this.#list;
    const first = Math.max(0, Math.floor(scrollTop / rowHeight) - margin);
    const last = Math.min(this.#rows.length, Math.ceil((scrollTop + clientHeight) / rowHeight) + margin);
    const made = this.#rows.slice(first, last).map((object, index) => this.#row(object, first + index));
    this.#spacer.replaceChildren(...made);
    if (this.#rows.length === 0) this.#spacer.append(h("p", { class: "empty" }, this.#emptyText));
    const selected = this.#selectedIndex();
    const isDrawn = selected !== undefined && selected >= first && selected < last;
    if (isDrawn) this.#list.setAttribute("aria-activedescendant", `row-${selected}`);
    else this.#list.removeAttribute("aria-activedescendant");
    this.#list.dispatchEvent(new CustomEvent("drawn"));
  }

  #row(object: GatewayObject, index: number): HTMLElement {
    const id = idOf(object);
    const state = stateOf(object);
    const { text, since } = reasonOf(object);
    const row = h(
      "div",
      {
        class: "row",
        id: `row-${index}`,
        role: "option",
        "aria-selected": String(id === this.#selected),
        "aria-setsize": this.#rows.length,
        "aria-posinset": index + 1,
      },
      h("span", { class: `state ${state.replace(" ", "-").toLowerCase()}` }, state),
      h("span", {}, object.kind),
      h("span", { class: "mono", title: object.name }, object.name),
      h("span", { class: "mono", title: whatOf(object) }, whatOf(object)),
      h("span", { title: text }, text),
      h("span", { class: "right" }, since === undefined ? "" : age(since)),
    );
    row.style.transform = `translateY(${index * rowHeight}px)`;
    row.addEventListener("click", () => {
      this.#select(index);
      if (id !== undefined) this.#open(id);
    });
    return row;
  }

  #selectedIndex(): number | undefined {
    if (this.#selected === undefined) return undefined;
    const index = this.#rows.findIndex((row) => idOf(row) === this.#selected);
    return index === -1 ? undefined : index;
  }

  #select(index: number): void {
    const at = Math.min(this.#rows.length - 1, Math.max(0, index));
    const row = this.#rows[at];
    if (row === undefined) return;
    this.#selected = idOf(row);
    const { scrollTop, clientHeight } = this.#list;
    const top = at * rowHeight;
    if (top < scrollTop) this.#list.scrollTop = top;
    else if (top + rowHeight > scrollTop + clientHeight)
      this.#list.scrollTop = top + rowHeight - clientHeight;
    this.#redraw();
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.#selectedIndex() ?? -1;
    const page = Math.max(1, Math.floor(this.#list.clientHeight / rowHeight) - 1);
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      j: at + 1,
      ArrowUp: at - 1,
      k: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this.#rows.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) this.#select(to);
    else if (event.key === "Enter" && this.#selected !== undefined) this.#open(this.#selected);
    else return;
    event.preventDefault();
  }
}
