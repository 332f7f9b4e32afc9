/** Creates elements. Texts become text nodes, never markup. */

export type Child = Node | string | number | undefined | false;
type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;
type Handlers = Readonly<Partial<Record<keyof HTMLElementEventMap, () => void>>>;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag: string, attributes: Attributes = {}, ...children: readonly Child[]): SVGElement {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

export function button(attributes: Attributes, label: string, click: () => void): HTMLButtonElement {
  return on(h("button", { type: "button", ...attributes }, label), { click });
}

export function on<E extends HTMLElement>(element: E, handlers: Handlers): E {
  for (const [name, handle] of Object.entries(handlers)) element.addEventListener(name, handle);
  return element;
}

/** The element of index.html with this id. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`no element ${id}`);
  return element;
}

/** A time that {@link refreshTimes} keeps as an age. */
export function age(iso: string | undefined, label = ""): HTMLElement {
  if (iso === undefined) return h("span", { class: "muted" }, "unknown");
  return h("time", { datetime: iso, title: new Date(iso).toLocaleString(), "data-label": label });
}

function fill<E extends Element>(element: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== undefined && child !== false) element.append(child instanceof Node ? child : String(child));
  }
  return element;
}
